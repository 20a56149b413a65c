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
    `slices` (three letters, as in DICOM), None when the file's axes are used as they are. sides_known: False where
    left and right of the patient cannot be told (a sagittal slice).
    """

    slices: np.ndarray
    grid: sitk.Image
    displayed: str | None
    modality: str
    sides_known: bool = True
    warnings: tuple[str, ...] = ()

    def on_grid(self, masks: np.ndarray) -> sitk.Image:
        """Displayed masks (N x H x W) as an image of the file's own size, spacing, origin and direction."""
        image = sitk.GetImageFromArray(np.ascontiguousarray(masks))
        if self.displayed is not None:
            image = _relabelled(image, self.grid, self.displayed)
            image = sitk.DICOMOrient(image, orientation_of(self.grid))
        image.CopyInformation(self.grid)
        return image


def orientation_of(grid: sitk.Image) -> str:
    """Three letters that say where each axis of a 3-D image points, for example LPS."""
    return sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(grid.GetDirection())


def display_orientation(grid: sitk.Image) -> str | None:
    """The orientation in which a 3-D image is shown: columns towards the patient's left.

    A volume: axial slices (LPS). A single slice: its own plane, rows downwards. None: a sagittal slice, whose sides
    cannot be told.
    """
    if grid.GetSize()[2] > 1:
        return "LPS"
    normal = orientation_of(grid)[2]
    if normal in "LR":
        return None
    return f"LP{normal}" if normal in "SI" else f"LI{normal}"


def display_slices(image: sitk.Image) -> tuple[np.ndarray, str | None]:
    """The pixels of a 3-D image as displayed slices (N x H x W), and their orientation code."""
    shown = display_orientation(image)
    oriented = sitk.DICOMOrient(image, shown) if shown else image
    return sitk.GetArrayFromImage(oriented), shown


def _relabelled(image: sitk.Image, grid: sitk.Image, displayed: str) -> sitk.Image:
    """Give displayed masks the direction that the displayed picture has, so that they can be turned back."""
    empty = sitk.DICOMOrient(sitk.Image(grid), displayed)
    image.CopyInformation(empty)
    return image
