"""How large a mask is: in voxels, and in cm2 or ml where the file says how large a voxel is."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from textseg.imaging.kinds import FLAT_SUFFIXES, suffix_of
from textseg.imaging.picture import Picture


@dataclass(frozen=True)
class Extent:
    """pixels: voxels of the file. cm2: of a single slice (of a radiograph: at its detector). ml: of a volume.

    Both are None where the file does not say how large a voxel is.
    """

    pixels: int
    cm2: float | None = None
    ml: float | None = None


def extent_of(path: Path, picture: Picture, masks: np.ndarray) -> Extent:
    """masks: N x H x W of 0 and 1 on the displayed slices of the picture that was read from `path`."""
    pixels, grid = int(masks.sum()), picture.grid
    if not _says_spacing(path, picture):
        return Extent(pixels)
    if 1 not in grid.size:
        return Extent(pixels, ml=pixels * float(np.prod(grid.spacing)) / 1000)
    thin = max(axis for axis in range(3) if grid.size[axis] == 1)
    sides = [spacing for axis, spacing in enumerate(grid.spacing) if axis != thin]
    return Extent(pixels, cm2=pixels * sides[0] * sides[1] / 100)


def _says_spacing(path: Path, picture: Picture) -> bool:
    """False for flat pictures, whose dots per inch mean paper, and where a file without one reads as 1 mm."""
    if path.is_file() and suffix_of(path) in FLAT_SUFFIXES:
        return False
    return picture.placed or picture.grid.spacing[:2] != (1.0, 1.0)
