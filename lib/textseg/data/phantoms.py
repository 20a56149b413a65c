"""Chest pictures drawn by the project, with exact masks: sample studies, tests, and a share of the training.

A phantom is not a real picture. It has lungs, ribs, heart and areas of infection, so that everything from reading a
file to the mask in the viewer can be shown and measured where no patient data may be.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from textseg.text.finding import ZONES, Finding

BANDS = {"upper": (0.08, 0.36), "middle": (0.38, 0.62), "lower": (0.66, 0.92)}  # of a lung's height, from the top


@dataclass(frozen=True)
class Phantom:
    """image: H x W uint8. mask: H x W uint8 of 0 and 1. finding: what is drawn, in patient sides."""

    image: np.ndarray
    mask: np.ndarray
    finding: Finding


def draw_radiograph(places: dict[str, tuple[str, ...]], seed: int, size: int = 512) -> Phantom:
    """A frontal chest X-ray in standard display with one area of infection per place.

    places: {"left": zones, "right": zones} in PATIENT sides; the patient's right is drawn on the picture's left.
    size: side length in pixels. The same seed draws the same picture.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size] / size
    lungs = {side: _lung(rows, columns, side, random) for side in ("right", "left")}
    image = _thorax(rows, columns, lungs, random)
    mask = np.zeros((size, size), bool)
    for side, zones in places.items():
        for zone in zones:
            mask |= _area(rows, columns, lungs[side], zone, random)
    opacity = ndimage.gaussian_filter(mask.astype(float), size * 0.012) * random.uniform(0.22, 0.4)
    image += opacity * _patchy(size, random)
    image += ndimage.gaussian_filter(random.normal(0, 1, (size, size)), 0.8) * 0.02
    finding = Finding(places.get("left", ()), places.get("right", ()), count=_count(mask), absent=not mask.any())
    return Phantom(_to_bytes(image), mask.astype(np.uint8), finding)


def draw_ct_slice(sides: tuple[str, ...], height: float, seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """One axial CT slice: Hounsfield units (H x W int16) and mask (uint8); patient's right on the picture's left.

    sides: the lungs with an infected area. height: 0 (base) to 1 (apex); the lungs narrow towards the apex.
    """
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:size, 0:size] / size
    body = ((rows - 0.52) / 0.36) ** 2 + ((columns - 0.5) / 0.45) ** 2 < 1
    values = np.where(body, 40.0, -1000.0)
    narrow = 1 - 0.45 * height
    mask = np.zeros((size, size), bool)
    for side, middle in (("right", 0.29), ("left", 0.71)):
        lung = ((rows - 0.5) / (0.26 * narrow)) ** 2 + ((columns - middle) / (0.16 * narrow)) ** 2 < 1
        values[lung] = -850
        if side in sides and 0.2 < height < 0.8:
            mask |= lung & (((rows - 0.6) / 0.1) ** 2 + ((columns - middle) / 0.09) ** 2 < 1)
    values[((rows - 0.82) / 0.05) ** 2 + ((columns - 0.5) / 0.05) ** 2 < 1] = 400
    values[mask] = -250
    values = ndimage.gaussian_filter(values, 0.8) + random.normal(0, 15, values.shape)
    return np.clip(values, -1024, 3071).astype(np.int16), mask.astype(np.uint8)


def random_places(random: np.random.Generator) -> dict[str, tuple[str, ...]]:
    """Zones for a phantom: usually both lungs, one to three zones in each."""
    sides = ("left", "right") if random.random() < 0.7 else (str(random.choice(("left", "right"))),)
    kept = {side: random.choice(3, size=random.choice([1, 1, 2, 3]), replace=False) for side in sides}
    return {side: tuple(zone for i, zone in enumerate(ZONES) if i in chosen) for side, chosen in kept.items()}


def _lung(rows: np.ndarray, columns: np.ndarray, side: str, random: np.random.Generator) -> np.ndarray:
    """A rounded lung field; its lower inner corner is cut by heart and diaphragm."""
    middle = 0.5 + (0.205 + random.uniform(-0.01, 0.02)) * (-1 if side == "right" else 1)
    top, bottom = 0.12 + random.uniform(0, 0.05), 0.80 + random.uniform(-0.06, 0.06)
    down = np.clip((rows - top) / (bottom - top), 0, 1)
    half = (0.1 + 0.075 * np.sqrt(down)) * random.uniform(0.92, 1.1)
    outward = (columns - middle) * (-1 if side == "right" else 1)
    dome = bottom - 0.05 * np.cos(np.clip(outward / 0.16, -1, 1) * np.pi)
    apex = ((rows - top - 0.1) / 0.1) ** 2 + (outward / half) ** 2 < 1
    return ((np.abs(outward) < half) & (rows > top + 0.1) & (rows < dome)) | (apex & (rows <= top + 0.1))


def _thorax(
    rows: np.ndarray, columns: np.ndarray, lungs: dict[str, np.ndarray], random: np.random.Generator
) -> np.ndarray:
    size = rows.shape[0]
    image = 0.62 - 0.5 * (np.abs(columns - 0.5) > 0.44) + 0.1 * (rows - 0.5)
    field = ndimage.gaussian_filter((lungs["left"] | lungs["right"]).astype(float), size * 0.01)
    image = image - random.uniform(0.34, 0.44) * field
    ribs = np.sin((rows * 11 + 2.4 * (np.abs(columns - 0.5) - 0.2) ** 2 * 11) * 2 * np.pi) > 0.55
    image += 0.07 * ndimage.gaussian_filter((ribs & (np.abs(columns - 0.5) > 0.06)).astype(float), size * 0.006)
    heart = ((rows - 0.63) / 0.14) ** 2 + ((columns - 0.55) / (0.13 + random.uniform(-0.02, 0.03))) ** 2 < 1
    spine = np.abs(columns - 0.5) < 0.045
    image += 0.2 * ndimage.gaussian_filter(heart.astype(float), size * 0.012)
    return image + 0.12 * ndimage.gaussian_filter(spine.astype(float), size * 0.01)


def _area(
    rows: np.ndarray, columns: np.ndarray, lung: np.ndarray, zone: str, random: np.random.Generator
) -> np.ndarray:
    """An irregular patch inside one zone of a lung: a disc whose edge a smooth noise pushes in and out."""
    filled = np.flatnonzero(lung.any(axis=1)) / lung.shape[0]
    top, bottom = (filled[0] + share * (filled[-1] - filled[0]) for share in BANDS[zone])
    across = np.flatnonzero(lung[int((top + bottom) / 2 * lung.shape[0])]) / lung.shape[1]
    row, column = (top + bottom) / 2, across.mean() + random.uniform(-0.02, 0.02)
    tall, wide = (bottom - top) * random.uniform(0.42, 0.55), (across[-1] - across[0]) * random.uniform(0.28, 0.5)
    edge = ndimage.gaussian_filter(random.normal(0, 1, lung.shape), lung.shape[0] * 0.035)
    distance = ((rows - row) / tall) ** 2 + ((columns - column) / wide) ** 2 + edge / edge.std() * 0.18
    grown = lung & (distance < 1) & (rows > top - 0.02) & (rows < bottom + 0.02)
    parts, found = ndimage.label(grown)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1 if found else grown


def _patchy(size: int, random: np.random.Generator) -> np.ndarray:
    noise = ndimage.gaussian_filter(random.normal(0, 1, (size, size)), size * 0.02)
    return 1 + 0.25 * noise / noise.std()


def _count(mask: np.ndarray) -> int | None:
    """Number of 8-connected parts, None for an empty mask."""
    return ndimage.label(mask, structure=np.ones((3, 3)))[1] or None


def _to_bytes(image: np.ndarray) -> np.ndarray:
    return np.clip(image * 255, 0, 255).astype(np.uint8)
