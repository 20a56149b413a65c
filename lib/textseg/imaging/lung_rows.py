"""From which height to which the lungs of a frontal chest X-ray reach: an estimate from its grey values alone.

Fitted to 1,884 training pictures of QaTa-COV19 in which both lungs are drawn as infected from top to bottom; it is no
lung segmentation, and good for naming zones only.
"""

import numpy as np
import torch
from scipy import ndimage

from textseg.imaging.preprocess import resized

SIZE = 112  # side length on which it is measured
FRAME = 10  # pixels along the edges that the threshold does not look at
SMALLEST = 0.015  # of the picture: dark areas below it are no lung
SHORTEST = 0.35  # of the picture's height: dark areas that reach over less are no whole lungs
TYPICAL_TOP = 0.10  # of the picture's height, where no dark lungs stand out
FIELDS = ((17, 43), (69, 95))  # columns in which lungs lie
BELOW = (50, 105)  # rows between which a lung may end


def lung_rows(image: np.ndarray) -> tuple[float, float]:
    """Top and bottom of the lungs as shares of the picture's height, from the top.

    image: H x W in 0..1, a chest X-ray on the standard display, air dark. Dark areas that stand free give both; where
    opacities hide them, the lungs end where the picture brightens most from a row to the next.
    """
    small = resized(torch.from_numpy(np.array(image, np.float32))[None, None], (SIZE, SIZE))[0, 0].numpy()
    rows = np.flatnonzero(_dark(ndimage.uniform_filter(small, 3)).sum(axis=1) >= 2)
    if len(rows) and rows[-1] + 1 - rows[0] > SHORTEST * SIZE:
        return float(rows[0] / SIZE - 0.01), float(0.75 * (rows[-1] + 1) / SIZE + 0.25)
    return TYPICAL_TOP, 0.64 * _brightening(small) / SIZE + 0.35


def _dark(small: np.ndarray) -> np.ndarray:
    """Large dark areas that touch no edge of the picture."""
    inner = small[FRAME:-FRAME, FRAME:-FRAME]
    areas, _ = ndimage.label(small <= _threshold(inner))
    sizes = np.bincount(areas.ravel())
    sizes[np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])] = 0
    sizes[0] = 0
    return (sizes >= SMALLEST * small.size)[areas]


def _threshold(values: np.ndarray) -> float:
    """Otsu's: the grey value that parts dark from bright with the largest variance between the two."""
    counts, edges = np.histogram(values, bins=256)
    below = counts.cumsum() / counts.sum()
    sums = (counts * np.arange(256)).cumsum() / counts.sum()
    spread = below * (1 - below)
    between = (sums[-1] * below - sums) ** 2 / np.where(spread > 0, spread, np.inf)
    return float(edges[between.argmax() + 1])


def _brightening(small: np.ndarray) -> int:
    """The row at which the columns of the lungs brighten most downwards: the diaphragm."""
    profile = np.mean([small[:, start:stop].mean(axis=1) for start, stop in FIELDS], axis=0)
    start, stop = BELOW
    return start + int(ndimage.gaussian_filter1d(profile, 4, order=1)[start:stop].argmax())
