"""Pixel values to 0..1, the brightness a reader sees."""

import numpy as np

LUNG_WINDOW = (-1350.0, 150.0)  # Hounsfield units: width 1500, level -600


def windowed(pixels: np.ndarray, modality: str) -> np.ndarray:
    """float32 in 0..1. 8-bit values as they are; CT in Hounsfield units by the lung window; else by percentiles.

    pixels: any shape, any numeric type. Deeper pictures without a known scale go from their 0.5 to their 99.5
    percentile.
    """
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255
    values = pixels.astype(np.float32)
    if modality == "ct" and values.min() < -100:
        low, high = LUNG_WINDOW
    else:
        low, high = np.percentile(values[:: max(1, len(values) // 16)], (0.5, 99.5))
    return np.clip((values - low) / max(float(high - low), 1e-6), 0, 1)
