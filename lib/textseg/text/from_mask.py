"""Mask -> Finding: the words of a mask that was drawn without any; and whether a mask contradicts its prompt.

The limits are fitted to the 5,701 training pictures of QaTa-COV19 and to drawn phantoms. Agreement with the published
sentences of those pictures (of its 1,429 validation pictures): lungs named 99.1 % (98.1 %); all zones of a lung 80.1 %
(69.3 %) with `imaging.lung_rows`, 78.2 % (67.3 %) without; the count always, for the published one was counted in the
mask. Fixed bands of the picture's height reach 80.2 % only where they call lower what lies in the middle.
"""

import numpy as np
from scipy import ndimage

from textseg.errors import DataError
from textseg.text.finding import ZONES, Finding

PART = 0.2  # share of a part's area in one half of the picture from which that lung is named
TYPICAL_LUNG = (0.10, 0.77)  # top and bottom, of the picture's height, where the picture has not been looked at
LIMITS = (0.31, 0.57)  # of the lung's height, from the top: upper from middle, middle from lower
LEAST = np.array([0.005, 0.035, 0.01])  # area from which each zone is named, see `_zones`
UNASKED = 0.4  # share of the drawn area in a lung not asked for from which the mask contradicts the prompt
MISSING = 0.02  # share of the drawn area below which one of two lungs asked for is left out, if no part reaches it
EIGHT = np.ones((3, 3))  # parts that touch by a corner are one
OTHER = {"left": "right", "right": "left"}


def finding_of(
    mask: np.ndarray, sides_known: bool = True, zones: bool = True, lung: tuple[float, float] = TYPICAL_LUNG
) -> Finding:
    """What a mask shows: lungs, zones and the number of areas; the denying Finding for an empty mask.

    mask: H x W, true where infected, on the standard display (the patient's right on the picture's left). sides_known:
    False where nothing says which side is which; then only the count is told. zones: False on CT, where a slice has
    none; then each lung that is drawn in is named as a whole. lung: its top and bottom as shares of the picture's
    height, see `imaging.lung_rows`. Raises DataError for a mask that is not H x W.
    """
    mask = _checked(mask)
    if not mask.any():
        return Finding(absent=True)
    parts, count = ndimage.label(mask, structure=EIGHT)
    if not sides_known:
        return Finding(count=count)
    rows, halves = _halves(mask)
    places = {
        side: _zones(rows, weights, mask.shape, lung) if zones else ZONES
        for side, weights in halves.items()
        if _reaches(parts[mask], weights)
    }
    return Finding(**places, count=count)


def contradiction(finding: Finding, mask: np.ndarray, sides_known: bool = True) -> str | None:
    """What is wrong between a prompt and the mask drawn for it, and what to do; None where they agree.

    mask, sides_known: as for `finding_of`. An empty mask contradicts nothing: what was asked for is not there. Zones
    and count are not compared, people mean them loosely. Of the published training sentences 0.8 % are flagged; of
    those that name one lung and are not, all are when mirrored. Raises DataError for a mask that is not H x W.
    """
    mask = _checked(mask)
    if finding.anywhere or not mask.any():
        return None
    if finding.nothing:
        return "The prompt denies any infection, but an area is drawn. Erase the area, or write a prompt that names it."
    return _misplaced(finding.located(), mask) if sides_known else None


def _misplaced(finding: Finding, mask: np.ndarray) -> str | None:
    for side, weights in _halves(mask)[1].items():
        share = float(weights.mean())
        if not getattr(finding, side) and share >= UNASKED:
            return _elsewhere(side, share)
        if finding.two_sided and share < MISSING and not _reaches(ndimage.label(mask, EIGHT)[0][mask], weights):
            return _left_out(side)
    return None


def _checked(mask: np.ndarray) -> np.ndarray:
    if mask.ndim != 2:
        shape = " x ".join(map(str, mask.shape))
        raise DataError(f"A mask is told in words slice by slice: give one slice, H x W, not {shape}.")
    return mask > 0


def _halves(mask: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Row of each drawn pixel, and per patient side how much of it lies there: 0, 1, or half in a middle column."""
    rows, columns = np.nonzero(mask)
    left = np.clip(columns + 1 - mask.shape[1] / 2, 0, 1)
    return rows, {"left": left, "right": 1 - left}


def _reaches(parts: np.ndarray, weights: np.ndarray) -> bool:
    """True when at least the share PART of one part lies in a half. parts: the part of each pixel, from 1."""
    inside, whole = np.bincount(parts, weights)[1:], np.bincount(parts)[1:]
    return bool((inside >= PART * whole).any())


def _zones(rows: np.ndarray, weights: np.ndarray, shape: tuple[int, int], lung: tuple[float, float]) -> tuple[str, ...]:
    """Zones of one lung from the pixels' rows, weighted by how much they lie in its half.

    A zone is named from LEAST on: its area over that of a picture of the same form that is as high as the lung. Where
    no zone has as much, the one with most is named. The lung is lengthened to hold the whole mask.
    """
    height, width = shape
    top, bottom = min(lung[0] * height, rows.min()), max(lung[1] * height, rows.max() + 1)
    edges = [0, *(top + limit * (bottom - top) for limit in LIMITS), height]
    drawn = np.concatenate([[0], np.bincount(rows, weights, height).cumsum()])  # above each edge between rows
    areas = np.diff(np.interp(edges, np.arange(height + 1), drawn))
    least = LEAST * height * width * ((bottom - top) / height) ** 2
    named = areas >= least if (areas >= least).any() else areas == areas.max()
    return tuple(zone for zone, told in zip(ZONES, named, strict=True) if told)


def _left_out(side: str) -> str:
    return (
        f"The prompt names both lungs, but everything drawn lies in the patient's {OTHER[side]} lung. Draw the area in "
        f"the {side} lung, or name the {OTHER[side]} lung alone."
    )


def _elsewhere(side: str, share: float) -> str:
    return (
        f"The prompt names the patient's {OTHER[side]} lung alone, but {share:.0%} of what is drawn lies in the "
        f"patient's {side} lung (the picture's {OTHER[side]} half). Draw in the {OTHER[side]} lung, or name the "
        f"{side} lung."
    )
