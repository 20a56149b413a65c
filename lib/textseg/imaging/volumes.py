"""NIfTI, NRRD and MetaImage: slices and volumes that say where they lie in the patient."""

from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from textseg.errors import PictureError
from textseg.imaging.decoded import Decoded, check_grid, check_size, check_values, grey_of, pixels_of
from textseg.imaging.grid import Grid
from textseg.imaging.kinds import NIFTI_SUFFIXES, suffix_of
from textseg.imaging.text_headers import LONGEST_HEADER, check_text_header

READERS = {".nrrd": "NrrdImageIO", ".mha": "MetaImageIO"}
NIFTI2 = (b"\x1c\x02\x00\x00", b"\x00\x00\x02\x1c")  # how the second version begins: the size of its header
PLACES = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
# What ITK says of a geometry that it does not take -> what the user reads.
REFUSALS = {
    "Zero-valued spacing": "has a voxel spacing of zero",
    "determinant is 0": "has a direction matrix that is singular",
    "orthonormal": "has a direction matrix that is singular or sheared",
}


def decode_volume(path: Path) -> Decoded:
    """Raises PictureError naming the fault, and anything for a damaged file."""
    if suffix_of(path) in NIFTI_SUFFIXES:
        _check_nifti_header(path)
    else:
        check_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO(READERS.get(suffix_of(path), "NiftiImageIO"))  # whatever the file's bytes look like
    try:
        reader.ReadImageInformation()
        grid = _checked_grid(path, reader)
        pixels = _nifti_pixels(path, grid) if suffix_of(path) in NIFTI_SUFFIXES else pixels_of(reader.Execute())
    except RuntimeError as error:
        for said, fault in REFUSALS.items():
            if said in str(error):
                raise PictureError(f"{path.name} {fault}. Export it anew.") from error
        raise
    grey, warnings = grey_of(pixels, path.name)
    check_values(path.name, grey)
    layers = 1 if pixels.ndim == 3 else pixels.shape[-1]
    return Decoded(grey, grid, grid.axes, placed=reader.GetDimension() == 3, warnings=warnings, layers=layers)


def _check_nifti_header(path: Path) -> None:
    """ITK puts 1 for a spacing of zero or NaN; nibabel would load any amount of text before the pixels."""
    with nib.openers.ImageOpener(path) as file:
        kind = nib.Nifti2Header if file.read(4)[:4] in NIFTI2 else nib.Nifti1Header
    with nib.openers.ImageOpener(path) as file:
        header = kind.from_fileobj(file, check=False)
    axes = int(np.clip(header["dim"][0], 1, 3))
    spacing, sides = header["pixdim"][1 : axes + 1], header["dim"][1 : axes + 1]
    geometry = [*spacing, *(header[name] for name in PLACES)] if header["qform_code"] else [*spacing]
    geometry += [*header["srow_x"], *header["srow_y"], *header["srow_z"]] if header["sform_code"] else []
    if not np.isfinite(np.array(geometry, float)).all():
        raise PictureError(f"{path.name} has a geometry with values that are no numbers. Export it anew.")
    if any(step == 0 and side > 1 for step, side in zip(spacing, sides, strict=True)):
        raise PictureError(f"{path.name} has a voxel spacing of zero. Export it anew.")
    if not 0 <= float(header["vox_offset"]) <= LONGEST_HEADER:
        raise PictureError(f"{path.name} cannot be read: its header is damaged, or far too long. Export it anew.")


def _checked_grid(path: Path, reader: sitk.ImageFileReader) -> Grid:
    if reader.GetDimension() not in (2, 3):
        raise PictureError(
            f"{path.name} has {reader.GetDimension()} dimensions; a slice or a volume is supported. Export one of them."
        )
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise PictureError(f"{path.name} holds complex values. Export it as a grey picture.")
    check_size(path.name, reader.GetSize(), _bytes_per_pixel(reader))
    grid = Grid.of(reader)
    check_grid(path.name, grid)
    return grid


def _bytes_per_pixel(reader: sitk.ImageFileReader) -> int:
    channels = reader.GetNumberOfComponents()
    pixel = sitk.Image([1, 1], reader.GetPixelID(), channels if channels > 1 else 0)
    return pixel.GetSizeOfPixelComponent() * channels


def _nifti_pixels(path: Path, grid: Grid) -> np.ndarray:
    """z, y, x by nibabel: ITK puts 0 for NaN and for the end of a cut file."""
    proxy = nib.load(path, mmap=False).dataobj  # mapped, a file that shrinks meanwhile would end the process
    plain = proxy.slope in (1, None) and proxy.inter in (0, None)
    values = np.asarray(proxy.get_unscaled() if plain else np.asarray(proxy, dtype=np.float32))
    if values.dtype.names:  # RGB or RGBA
        values = np.stack([values[channel] for channel in values.dtype.names], -1)
        return values.reshape(*grid.size, -1).transpose(2, 1, 0, 3)
    if values.size != np.prod(grid.size):
        raise PictureError(f"{path.name} has several values per voxel. Export it as a grey picture.")
    return values.reshape(grid.size, order="F").T
