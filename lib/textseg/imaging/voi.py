"""How a DICOM radiograph wants to be shown: modality LUT, then VOI LUT or window (DICOM PS3.3 C.11.1 and C.11.2)."""

import numpy as np
from pydicom import Dataset

from textseg.imaging.window import Curve, Ramp, Window, percentile_window, sampled

SEEN = (0.01, 0.99)  # brightness that is neither black nor white
LEAST_SEEN = 0.05  # share of pixels that a window must leave between them
POINTS = 2**16  # at most so many values are looked up; between them it goes straight
UNUSABLE = "The window that the file stores shows almost nothing of the picture, and was not used."


def stored_window(header: Dataset, pixels: np.ndarray) -> tuple[Window | None, tuple[str, ...]]:
    """The file's own course from values (z, y, x, as ITK gives them) to brightness, and sentences for the user.

    None where the file says none, or one that would leave nearly nothing to be seen. Raises whatever pydicom raises
    for a damaged header.
    """
    window = _window(header, pixels)
    if window is None:
        return None, ()
    shown = window(sampled(pixels, POINTS))
    if ((shown > SEEN[0]) & (shown < SEEN[1])).mean() < LEAST_SEEN:
        return None, (UNUSABLE,)
    return window, ()


def _window(header: Dataset, pixels: np.ndarray) -> Window | None:
    modality, voi = (_table(header, name) for name in ("ModalityLUTSequence", "VOILUTSequence"))
    straight = _straight(header)
    turn = _turn(header)
    if modality is None and voi is None and straight is not None:
        return straight if turn is None else Ramp(turn - straight.high, turn - straight.low)
    if modality is None and voi is None and _sigmoid(header) is None:
        return None
    low, high = float(pixels.min()), float(pixels.max())
    whole = pixels.dtype.kind in "iu" and high - low < POINTS
    values = np.linspace(low, high, int(high - low) + 1 if whole else POINTS)
    of_file = values if turn is None else turn - values
    if modality is not None:
        of_file = modality(of_file)
    shown = (voi or straight or _sigmoid(header) or _of_the_picture(pixels, turn, modality))(of_file)
    return Curve(values, shown if turn is None else 1 - shown)


def _of_the_picture(pixels: np.ndarray, turn: float | None, modality: Window) -> Ramp:
    """The percentiles of the values by the modality table, where the file says no more than that."""
    some = sampled(pixels, POINTS).astype(float)
    return percentile_window(modality(some if turn is None else turn - some))


def _straight(header: Dataset) -> Ramp | None:
    """C.11.2.1.2.1 (LINEAR) and C.11.2.1.3.2 (LINEAR_EXACT): the first window centre and width."""
    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    function = str(header.get("VOILUTFunction") or "LINEAR").upper()
    if center is None or width is None or function == "SIGMOID":
        return None
    if function == "LINEAR_EXACT":
        return Ramp(center - width / 2, center + width / 2) if width > 0 else None
    half = max(width - 1, 1e-6) / 2
    return Ramp(center - 0.5 - half, center - 0.5 + half) if width >= 1 else None


def _sigmoid(header: Dataset) -> Window | None:
    """C.11.2.1.3.1."""
    center, width = _first(header.get("WindowCenter")), _first(header.get("WindowWidth"))
    if str(header.get("VOILUTFunction") or "").upper() != "SIGMOID" or center is None or width is None or width <= 0:
        return None
    return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -50, 50)))


def _table(header: Dataset, name: str) -> Window | None:
    """C.11.1.1 and C.11.2.1.1: a look-up table; beyond its ends the end entries count.

    A modality table gives values, a VOI table brightness: from 0 to 1 over the entries that it has, since many tables
    declare more bits than they use.
    """
    item = (header.get(name) or [None])[0]
    if item is None or not item.get("LUTDescriptor") or item.get("LUTData") is None:
        return None
    first = int(item.LUTDescriptor[1])
    data, bits = item.LUTData, int(item.LUTDescriptor[2])
    entries = int(item.LUTDescriptor[0]) or 2**16
    if isinstance(data, bytes):
        data = np.frombuffer(data, np.uint8 if len(data) < 2 * entries and bits <= 8 else "<u2")
    table = np.atleast_1d(np.asarray(data, float))[:entries]
    if name == "VOILUTSequence":
        table = (table - table.min()) / max(float(table.max() - table.min()), 1e-6)
    return Curve(first + np.arange(len(table), dtype=float), table)


def _turn(header: Dataset) -> float | None:
    """For MONOCHROME1, which ITK turns round first: the file's own value is this less the value that ITK gives."""
    if str(header.get("PhotometricInterpretation")) != "MONOCHROME1":
        return None
    top = -1 if header.get("PixelRepresentation") else 2 ** int(header.get("BitsStored") or header.BitsAllocated) - 1
    slope, intercept = _first(header.get("RescaleSlope")), _first(header.get("RescaleIntercept"))
    return (1.0 if slope is None else slope) * top + 2 * (intercept or 0.0)


def _first(value: object) -> float | None:
    """A finite number, or the first of several (windows come in lists); None for anything else."""
    try:
        number = float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None
