"""Labels and masks in: laid on the grid of the picture they belong to, or refused."""

import os
from collections.abc import Collection
from pathlib import Path

import nibabel.orientations as orientations
import numpy as np
from numpy.typing import ArrayLike

from textseg.errors import DataError
from textseg.imaging.decoded import Decoded
from textseg.imaging.grid import Grid
from textseg.imaging.kinds import NIFTI_SUFFIXES, NRRD_SUFFIXES, suffix_of
from textseg.imaging.picture import Picture
from textseg.imaging.read import decode

LABEL_SUFFIXES = (".png", *NIFTI_SUFFIXES, *NRRD_SUFFIXES)
MAX_LABEL = 2**16 - 1
NEAR = 0.1  # voxels by which a label's grid may miss the picture's
LPS_IDENTITY = (1, 0, 0, 0, 1, 0, 0, 0, 1)
RAS_IDENTITY = (-1, 0, 0, 0, -1, 0, 0, 0, 1)


def read_label(path: str | os.PathLike[str], picture: Picture) -> np.ndarray:
    """A label file as z, y, x whole numbers from 0 on the picture's own grid.

    By geometry where its voxels are the picture's (axes may be turned or flipped, and it may cover a part); by index
    where the size is the picture's and the geometry is one that viewers put in its place; see `_rewritten`. Raises
    PictureError for an unreadable file, DataError where it holds no labels or fits neither way.
    """
    path = Path(path)
    label = check_label_file(path)
    laid = _by_geometry(label, picture)
    if laid is None and label.grid.size == picture.grid.size and _rewritten(label.grid, picture):
        laid = label.pixels
    if laid is None:
        raise DataError(
            f"{path.name} does not lie on its picture: {_told(label.grid)}, the picture {_told(picture.grid)}. "
            "Export the label on the picture's own grid."
        )
    return laid.astype(np.uint8 if laid.max() < 256 else np.uint16)


def read_mask(path: str | os.PathLike[str], picture: Picture, values: Collection[int] = ()) -> np.ndarray:
    """A mask file as N x H x W booleans on the picture's displayed slices.

    values: those that are foreground; every value above 0 when there are none.

    Raises as `read_label` does.
    """
    label = picture.view.displayed(read_label(path, picture))
    return np.isin(label, list(values)) if values else label > 0


def check_label_file(path: Path) -> Decoded:
    """A label file as decoded: one layer of whole numbers from 0 to 65535. Raises PictureError, DataError."""
    if path.is_file() and suffix_of(path) not in LABEL_SUFFIXES:
        raise DataError(f"{path.name} cannot be a label. Save it as one of {', '.join(LABEL_SUFFIXES)}.")
    label = decode(path)
    values = label.pixels
    if label.layers > 1:
        raise DataError(f"{path.name} has {label.layers} layers or colours. Save one layer of whole numbers.")
    if values.min() < 0 or values.max() > MAX_LABEL or not np.array_equal(values, np.rint(values)):
        raise DataError(
            f"{path.name} holds values that are no labels: whole numbers from 0 to {MAX_LABEL}. Export it anew."
        )
    return label


def _by_geometry(label: Decoded, picture: Picture) -> np.ndarray | None:
    """The label's voxels put where they lie on the picture's grid; None where the two grids do not share voxels.

    Both cover the same place, or, where both say where they lie in the patient, one holds the other whole: a label of
    another place is never taken for a part of this one.
    """
    grid = picture.grid
    to_index = np.linalg.inv(grid.matrix)
    step = to_index @ label.grid.matrix
    turn = np.rint(step)
    first = to_index @ (np.array(label.grid.origin) - np.array(grid.origin))
    drift = np.abs(step - turn) @ np.array(label.grid.size)
    one_each = (np.abs(turn).sum(0) == 1).all() and (np.abs(turn).sum(1) == 1).all()
    if not one_each or drift.max() > NEAR or np.abs(first - np.rint(first)).max() > NEAR:
        return None
    axes = np.abs(turn).argmax(0)  # label axis -> picture axis
    signs = turn[axes, range(3)]
    turned = orientations.apply_orientation(label.pixels.T, np.stack([axes, signs], 1))
    low = np.rint(first).astype(int) + np.minimum(turn, 0).astype(int) @ (np.array(label.grid.size) - 1)
    if turned.shape != grid.size and not (label.placed and picture.placed):
        return None
    return _pasted(turned, low, np.array(grid.size))


def _pasted(label: np.ndarray, low: np.ndarray, size: np.ndarray) -> np.ndarray | None:
    """x, y, z label whose first voxel is the picture's `low` -> z, y, x of the picture's size."""
    high = low + label.shape
    start, stop = np.maximum(low, 0), np.minimum(high, size)
    holds, held = ((low <= 0) & (high >= size)).all(), ((low >= 0) & (high <= size)).all()
    if not (holds or held):
        return None
    inside = label[tuple(slice(a, b) for a, b in zip(start - low, stop - low, strict=True))]
    if np.count_nonzero(inside) != np.count_nonzero(label):
        return None
    laid = np.zeros(size, label.dtype)
    laid[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = inside
    return laid.T


def _rewritten(label: Grid, picture: Picture) -> bool:
    """True for a geometry that a viewer puts in the place of the picture's own without moving a voxel.

    A picture that says nothing of its place (PNG, JPEG, most radiographs) gets plain axes at the origin, in LPS or in
    RAS, and any spacing. Any picture may be opened centred: the same axes, with the middle of the volume as origin.
    """
    middle = -(label.matrix @ (np.array(label.size) - 1)) / 2
    centred, at_zero = (_near(label.origin, place, NEAR * min(label.spacing)) for place in (middle, (0, 0, 0)))
    lps, ras = (_near(label.direction, axes, 1e-3) for axes in (LPS_IDENTITY, RAS_IDENTITY))
    if not picture.placed and _near(picture.grid.direction, LPS_IDENTITY, 1e-3):
        return (lps and (at_zero or centred)) or (ras and at_zero)
    return centred and _near(label.matrix, picture.grid.matrix, 1e-3 * min(label.spacing))


def _near(values: ArrayLike, others: ArrayLike, distance: float) -> bool:
    return np.allclose(values, others, rtol=0, atol=distance)


def _told(grid: Grid) -> str:
    size = " x ".join(map(str, grid.size))
    return f"{size} voxels at {tuple(round(value, 3) for value in grid.origin)}, axes {grid.axes}"
