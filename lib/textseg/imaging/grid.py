"""Where voxels lie in the patient: a file's own grid, and which of its axes is shown as which."""

from dataclasses import dataclass

import nibabel.orientations as orientations
import numpy as np
import SimpleITK as sitk

RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0])
RIGHT_ANGLES = 0.02  # how far two axes may be from them, as a cosine
# Normal of a single slice -> its columns and rows as they are shown. A sagittal slice has no sides.
PLANES = {"S": "LP", "I": "LP", "A": "LI", "P": "LI", "L": "PI", "R": "PI"}


@dataclass(frozen=True)
class Grid:
    """A 3-D voxel grid as ITK reads it from a file.

    size: voxels along x, y, z. spacing and origin: mm. direction: nine cosines, row by row; its columns are the
    axes, in LPS. A 2-D file is one slice at z = 0.
    """

    size: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, source: sitk.Image | sitk.ImageFileReader) -> "Grid":
        """The grid of an image, or of a file whose header was read. Raises ValueError unless it has 2 or 3 axes."""
        size, spacing, origin, direction = (
            tuple(values()) for values in (source.GetSize, source.GetSpacing, source.GetOrigin, source.GetDirection)
        )
        if len(size) == 2:
            (a, b), (c, d) = direction[:2], direction[2:]
            return cls((*size, 1), (*spacing, 1.0), (*origin, 0.0), (a, b, 0.0, c, d, 0.0, 0.0, 0.0, 1.0))
        if len(size) != 3:
            raise ValueError(f"{len(size)} dimensions")
        return cls(size, spacing, origin, direction)

    @property
    def matrix(self) -> np.ndarray:
        """3 x 3: a step along each axis, in mm (LPS)."""
        return np.array(self.direction).reshape(3, 3) * np.array(self.spacing)

    @property
    def axes(self) -> str:
        """Three letters: where x, y and z run to, each named by the patient direction nearest to it."""
        affine = np.eye(4)
        affine[:3, :3] = RAS_OF_LPS @ self.matrix
        return "".join(orientations.aff2axcodes(affine))

    def near(self, other: "Grid") -> bool:
        """True for the same voxels, but for what a file format rounds."""
        if self.size != other.size:
            return False
        mine, others = ((*grid.spacing, *grid.origin, *grid.direction) for grid in (self, other))
        return np.allclose(mine, others, rtol=1e-5, atol=1e-4)

    def fault(self) -> str:
        """What is wrong with the geometry, in words; "" when nothing is."""
        if min(self.spacing) <= 0:
            return "has a voxel spacing of zero"
        if not all(np.isfinite(values).all() for values in (self.spacing, self.origin, self.direction)):
            return "has a geometry with values that are no numbers"
        cosines = np.array(self.direction).reshape(3, 3)
        if np.abs(cosines.T @ cosines - np.eye(3)).max() > RIGHT_ANGLES:
            return "has a direction matrix that is singular or sheared"
        return ""

    def image(self, pixels: np.ndarray) -> sitk.Image:
        """Pixels (z, y, x) as an ITK image on this grid."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(pixels))
        image.SetSpacing(self.spacing)
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image


@dataclass(frozen=True)
class View:
    """How stored pixels are shown: `stored` and `shown` name where the x, y and z axes run to, for example LPS."""

    stored: str
    shown: str

    @classmethod
    def of(cls, axes: str, size: tuple[int, int, int]) -> "View":
        """Standard display: columns towards the patient's left.

        A volume: axial slices, rows towards the back, slices towards the head (LPS). A single slice, whichever axis
        it is thin along: its own plane, rows downwards, and columns towards the back where it is sagittal.
        """
        if 1 not in size:
            return cls(axes, "LPS")
        normal = axes[max(axis for axis in range(3) if size[axis] == 1)]
        return cls(axes, PLANES[normal] + normal)

    @property
    def has_sides(self) -> bool:
        """False where the patient's left and right cannot be told: columns that run from front to back."""
        return self.shown[0] in "LR"

    def displayed(self, pixels: np.ndarray) -> np.ndarray:
        """Stored pixels (z, y, x) -> shown slices (N x H x W); a view of the same memory."""
        return _turned(pixels, self.stored, self.shown)

    def undone(self, slices: np.ndarray) -> np.ndarray:
        """Shown slices (N x H x W) -> stored pixels (z, y, x)."""
        return _turned(slices, self.shown, self.stored)


def _turned(pixels: np.ndarray, before: str, after: str) -> np.ndarray:
    start, end = orientations.axcodes2ornt(before), orientations.axcodes2ornt(after)
    return orientations.apply_orientation(pixels.T, orientations.ornt_transform(start, end)).T
