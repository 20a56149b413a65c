"""How a DICOM radiograph wants to be shown: modality LUT, then VOI LUT or window (DICOM PS3.3 C.11.1 and C.11.2)."""

import copy

import numpy as np
from pydicom import Dataset
from pydicom.pixel_data_handlers.util import apply_modality_lut, apply_voi_lut

from textseg.imaging.window import Curve, Ramp, Window, percentile_window

SEEN = (0.01, 0.99)  # brightness that is neither black nor white
LEAST_SEEN = 0.05  # share of pixels that a window must leave between them
UNUSABLE = "The window that the file stores shows almost nothing of the picture: the range of its values was used."


def stored_window(header: Dataset, pixels: np.ndarray) -> tuple[Window | None, tuple[str, ...]]:
    """The file's own course from values (z, y, x, as ITK gives them) to brightness, and sentences for the user.

    None where the file says none, or one that would leave nearly nothing to be seen.
    """
    window = _curve(header, pixels) if _tables(header) else _linear(header)
    if window is None:
        return None, ()
    shown = window(pixels[..., ::8, ::8])
    if ((shown > SEEN[0]) & (shown < SEEN[1])).mean() < LEAST_SEEN:
        return None, (UNUSABLE,)
    return window, ()


def _tables(header: Dataset) -> bool:
    """True where the course is more than a straight window."""
    return bool(header.get("ModalityLUTSequence") or header.get("VOILUTSequence") or _function(header) == "SIGMOID")


def _function(header: Dataset) -> str:
    return str(header.get("VOILUTFunction") or "LINEAR").upper()


def _linear(header: Dataset) -> Ramp | None:
    """PS3.3 C.11.2.1.2.1 and C.11.2.1.3.2: the first window centre and width."""
    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    exact = _function(header) == "LINEAR_EXACT"
    if center is None or width is None or not width >= (1e-6 if exact else 1):
        return None
    middle, half = (center, width / 2) if exact else (center - 0.5, max(width - 1, 1e-6) / 2)
    turn = _turn(header)
    return Ramp(middle - half, middle + half) if turn is None else Ramp(turn - middle - half, turn - middle + half)


def _curve(header: Dataset, pixels: np.ndarray) -> Curve | None:
    """Tables and sigmoids, sampled by pydicom at the whole values of the picture."""
    low, high = int(np.floor(pixels.min())), int(np.ceil(pixels.max()))
    values = np.linspace(low, high, min(high - low + 1, 2**16))
    turn = _turn(header)
    ends = np.array([-(2**15), 2**16 - 1])
    stored = np.rint(values if turn is None else turn - values).astype(np.int64)
    if header.get("ModalityLUTSequence"):
        stored, ends = (np.asarray(apply_modality_lut(part, header), np.int64) for part in (stored, ends))
    shown, shown_ends = _by_voi(header, stored, ends)
    darkest, brightest = float(min(shown.min(), *shown_ends)), float(max(shown.max(), *shown_ends))
    if brightest <= darkest:
        return None
    shown = (shown - darkest) / (brightest - darkest)
    return Curve(values, shown if turn is None else 1 - shown)


def _by_voi(header: Dataset, stored: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values after the modality LUT -> brightness on a scale of the file's own; `ends`: values that reach its ends."""
    table = (header.get("VOILUTSequence") or [None])[0]
    if table is not None:
        entries, first, _ = (int(value) for value in table.LUTDescriptor)
        ends = np.array([first, first + (entries or 2**16) - 1])
    elif _first(header.get("WindowCenter")) is None:
        ramp = percentile_window(stored)
        return ramp(stored), np.array([0.0, 1.0])
    grey = copy.copy(header)
    grey.PhotometricInterpretation = "MONOCHROME2"  # pydicom would take the window of no other kind
    with np.errstate(over="ignore"):
        return tuple(np.asarray(apply_voi_lut(part, grey), float) for part in (stored, ends))


def _turn(header: Dataset) -> float | None:
    """For MONOCHROME1, which ITK turns round first: the file's own value is this less the value that ITK gives."""
    if str(header.get("PhotometricInterpretation")) != "MONOCHROME1":
        return None
    top = -1 if header.get("PixelRepresentation") else 2 ** int(header.BitsStored) - 1
    slope, intercept = _first(header.get("RescaleSlope")), _first(header.get("RescaleIntercept"))
    return (1.0 if slope is None else slope) * top + 2 * (intercept or 0.0)


def _first(value: object) -> float | None:
    """A finite number, or the first of several (windows come in lists); None for anything else."""
    try:
        number = float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
