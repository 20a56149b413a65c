"""A picture as the networks and the viewers need it: displayed slices, and the way back to the file's own grid."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

XRAY, CT = "xray", "ct"
MODALITIES = (XRAY, CT)


@dataclass(frozen=True)
class Picture:
    """One picture file.

    slices: N x H x W in standard display (the patient's right on the picture's left; top is superior for a frontal
    view, anterior for an axial slice); float32 in 0..1 after windowing. grid: the file's own size, spacing, origin and
    direction as ITK reads them, always 3-D (an image without meaningful pixels). displayed: orientation code of
    `slices` (three letters, as in DICOM). sides_known: False where left and right of the patient cannot be told (a
    sagittal slice).
    """

    slices: np.ndarray
    grid: sitk.Image
    displayed: str
    modality: str
    sides_known: bool = True
    warnings: tuple[str, ...] = ()

    def on_grid(self, masks: np.ndarray) -> sitk.Image:
        """Displayed masks (N x H x W) as an image of the file's own size, spacing, origin and direction."""
        image = _relabelled(sitk.GetImageFromArray(np.ascontiguousarray(masks)), self.grid, self.displayed)
        image = sitk.DICOMOrient(image, orientation_of(self.grid))
        image.CopyInformation(self.grid)
        return image


def orientation_of(grid: sitk.Image) -> str:
    """Three letters that say where each axis of a 3-D image points, for example LPS."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(grid.GetDirection())


def display_orientation(grid: sitk.Image) -> str:
    """The orientation in which a 3-D image is shown: columns towards the patient's left.

    A volume: axial slices (LPS). A single slice, whichever axis it is thin along: its own plane, rows downwards, and
    columns towards the back where it is sagittal.
    """
    size = grid.GetSize()
    if 1 not in size:
        return "LPS"
    normal = orientation_of(grid)[max(axis for axis in range(3) if size[axis] == 1)]
    plane = {"S": "LP", "I": "LP", "A": "LI", "P": "LI", "L": "PI", "R": "PI"}
    return plane[normal] + normal


def display_slices(image: sitk.Image) -> tuple[np.ndarray, str]:
    """The pixels of a 3-D image as displayed slices (N x H x W), and their orientation code."""
    shown = display_orientation(image)
    return sitk.GetArrayFromImage(sitk.DICOMOrient(image, shown)), shown


def _relabelled(image: sitk.Image, grid: sitk.Image, displayed: str) -> sitk.Image:
    """Give displayed masks the direction that the displayed picture has, so that they can be turned back."""
    empty = sitk.DICOMOrient(sitk.Image(grid), displayed)
    image.CopyInformation(empty)
    return image
