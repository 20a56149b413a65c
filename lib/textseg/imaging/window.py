"""Pixel values to 0..1, the brightness a reader sees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Window = Callable[[np.ndarray], np.ndarray]
LUNG_WINDOW = (-1350.0, 150.0)  # Hounsfield units: width 1500, level -600
PERCENTILES = (0.5, 99.5)
SAMPLED = 2**20  # pixels that the percentiles of a larger picture are taken from


@dataclass(frozen=True)
class Ramp:
    """Straight from black at `low` to white at `high`; float32 in 0..1, any shape. `high` below `low` inverts."""

    low: float
    high: float

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        width = self.high - self.low
        shown = pixels.astype(np.float32)
        shown -= np.float32(self.low)
        shown /= np.float32(width if abs(width) > 1e-6 else 1e-6)
        return np.clip(shown, 0, 1, out=shown)


@dataclass(frozen=True)
class Curve:
    """Any other course: `shown` (0..1) at the rising `values`, straight between them."""

    values: np.ndarray
    shown: np.ndarray

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return np.interp(pixels, self.values, self.shown).astype(np.float32)


def window_for(pixels: np.ndarray, modality: str) -> Window:
    """8-bit values as they are; CT in Hounsfield units by the lung window; else from the 0.5 to the 99.5 percentile.

    pixels: any shape, any real type. CT counts as Hounsfield units where something is below -100 (air).
    """
    if pixels.dtype == np.uint8:
        return Ramp(0.0, 255.0)
    if modality == "ct" and pixels.min() < -100:
        return Ramp(*LUNG_WINDOW)
    return percentile_window(pixels)


def percentile_window(pixels: np.ndarray) -> Ramp:
    """From the 0.5 to the 99.5 percentile; of a large picture, of evenly spaced pixels."""
    low, high = np.percentile(sampled(pixels, SAMPLED), PERCENTILES)
    return Ramp(float(low), float(high))


def sampled(pixels: np.ndarray, count: int) -> np.ndarray:
    """Evenly spaced pixels (N x H x W), at least `count` of them where there are as many."""
    step = max(1, int(np.sqrt(pixels.size / count)))
    return pixels[..., ::step, ::step]
