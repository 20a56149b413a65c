"""Picture files in: PNG, JPEG, WebP, NIfTI (slice or volume) and single-file DICOM CR/DX, read by ITK.

What SimpleITK does not read (WebP, PNG of grey and alpha) is decoded by Pillow. Everything else is refused by name.
"""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from PIL import Image

from textseg.errors import OptionError, PictureError, PictureNotFound
from textseg.imaging.picture import CT, MODALITIES, XRAY, Picture, display_slices
from textseg.imaging.window import windowed

FLAT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (*FLAT_SUFFIXES, *NIFTI_SUFFIXES, *DICOM_SUFFIXES)
RADIOGRAPHS = ("CR", "DX")
MAX_PIXELS = 2**28  # 268 million; about 1 GB as float32
COLOURED = 24  # of 255: channels further apart than this make a coloured pixel
PHOTOGRAPH = 0.2  # share of coloured pixels from which on a picture is a photograph


def read_picture(path: str | os.PathLike[str], modality: str = "auto") -> Picture:
    """Read one picture.

    modality: "xray" or "ct", or "auto": DICOM and a single slice are an X-ray, a volume is CT.
    Raises PictureNotFound, or PictureError naming the file and the fault.
    """
    path = Path(path)
    if modality not in ("auto", *MODALITIES):
        raise OptionError(f"modality is one of auto, {', '.join(MODALITIES)}, not {modality!r}.")
    image, warnings = _decoded(path)
    pixels, displayed = display_slices(image)
    grid = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    grid.CopyInformation(image)
    if modality == "auto":
        modality = CT if len(pixels) > 1 and suffix_of(path) not in DICOM_SUFFIXES else XRAY
    sides_known = displayed[2] not in "LR"
    if not sides_known:
        warnings += ("This is a sagittal (side) view: the patient's left and right cannot be told in it.",)
    return Picture(windowed(pixels, modality), grid, displayed, modality, sides_known, warnings)


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """A mask file as N x H x W booleans in standard display: every value above 0 is foreground.

    Raises as `read_picture` does.
    """
    return display_slices(_decoded(Path(path))[0])[0] > 0


def _decoded(path: Path) -> tuple[sitk.Image, tuple[str, ...]]:
    """A grey 3-D image, and sentences for the user."""
    _check_file(path)
    try:
        image = _read_pillow(path) if _needs_pillow(path) else _read_itk(path)
    except (RuntimeError, OSError, ValueError, EOFError, nib.filebasedimages.ImageFileError) as error:
        raise PictureError(f"{path.name} cannot be read: it is damaged, or not what its name says.") from error
    return _grey(_three_dimensional(image, path), path)


def suffix_of(path: Path) -> str:
    """The lower-case suffix, with .nii.gz as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The file name without its suffix (.nii.gz as one): the picture's id in the studies folder."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def _check_file(path: Path) -> None:
    if not path.exists():
        raise PictureNotFound(f"There is no picture {path.name}. Refresh the list of pictures, or check the name.")
    if not path.is_file():
        raise PictureError(f"{path.name} is a folder; DICOM series folders are not supported yet. Give one file.")
    if suffix_of(path) not in SUFFIXES:
        raise PictureError(f"{path.name} is of a kind that is not supported yet. Supported: {', '.join(SUFFIXES)}.")
    if path.stat().st_size == 0:
        raise PictureError(f"{path.name} is empty (zero bytes). Copy or export it again.")


def _needs_pillow(path: Path) -> bool:
    """WebP, and a PNG that says colour type 4 (grey and alpha) in its header."""
    if suffix_of(path) != ".png":
        return suffix_of(path) == ".webp"
    with path.open("rb") as file:
        return file.read(26)[25:] == b"\x04"


def _read_pillow(path: Path) -> sitk.Image:
    try:
        with Image.open(path) as opened:
            _check_size(opened.size, path)
            pixels = np.asarray(opened.convert("L" if opened.mode in ("L", "1", "LA") else "RGB"))
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path.name} has too many pixels. Make it smaller.") from error
    return sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 3)


def _read_itk(path: Path) -> sitk.Image:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    if suffix_of(path) in DICOM_SUFFIXES:
        reader.SetImageIO("GDCMImageIO")
    reader.ReadImageInformation()
    _check_size(reader.GetSize(), path)
    if suffix_of(path) in DICOM_SUFFIXES:
        _check_dicom(reader, path)
    image = reader.Execute()  # GDCM turns MONOCHROME1 round itself: bones come out bright
    if suffix_of(path) in NIFTI_SUFFIXES:
        _check_values(path)
    return image


def _check_dicom(reader: sitk.ImageFileReader, path: Path) -> None:
    """Only radiographs, and none whose rows run towards the patient's right: their sides would be mistaken."""
    modality, orientation = _tag(reader, "0008|0060"), _tag(reader, "0020|0020")
    if modality not in RADIOGRAPHS:
        raise PictureError(
            f"{path.name} is DICOM of modality {modality or 'unknown'}; "
            f"single files of {' and '.join(RADIOGRAPHS)} are supported."
        )
    if orientation.upper().startswith("R"):
        raise PictureError(
            f"{path.name} is stored mirrored (PatientOrientation {orientation}), which is not supported yet. "
            "Export it in standard display, the patient's right on the picture's left."
        )


def _tag(reader: sitk.ImageFileReader, tag: str) -> str:
    return reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else ""


def _check_values(path: Path) -> None:
    """ITK puts 0 for NaN in NIfTI, and for the end of a cut file, without a word; nibabel does not."""
    stored = nib.load(path).dataobj.get_unscaled()
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise PictureError(f"{path.name} holds values that are no numbers (NaN or infinite). Export it anew.")


def _check_size(size: tuple[int, ...], path: Path) -> None:
    pixels = int(np.prod([int(side) for side in size], dtype=object))
    if not 0 < pixels <= MAX_PIXELS:
        shape = " x ".join(map(str, size))
        raise PictureError(f"{path.name} has {shape} pixels; at most {MAX_PIXELS:,} are supported. Make it smaller.")


def _three_dimensional(image: sitk.Image, path: Path) -> sitk.Image:
    if image.GetDimension() == 2:
        return sitk.JoinSeries(image)
    if image.GetDimension() != 3:
        raise PictureError(f"{path.name} has {image.GetDimension()} dimensions; a slice or a volume is supported.")
    return image


def _grey(image: sitk.Image, path: Path) -> tuple[sitk.Image, tuple[str, ...]]:
    """Luminance (Rec. 601) of a colour picture; a photograph is refused. Grey pictures come back as they are."""
    channels = image.GetNumberOfComponentsPerPixel()
    if channels == 1:
        return image, ()
    pixels = sitk.GetArrayFromImage(image)
    if channels not in (3, 4) or pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"{path.name} has {channels} values per pixel. Export it as a grey picture.")
    colours = pixels[..., :3]
    scale = 255 / np.iinfo(pixels.dtype).max
    coloured = float(((colours.max(-1).astype(np.float32) - colours.min(-1)) * scale > COLOURED).mean())
    if coloured > PHOTOGRAPH:
        raise PictureError(f"{path.name} is a colour picture, not an X-ray or a CT. Give the grey original.")
    grey = sitk.GetImageFromArray(np.rint(colours @ np.float32([0.299, 0.587, 0.114])).astype(pixels.dtype))
    grey.CopyInformation(image)
    note = f"{path.name} has coloured marks; its brightness alone was used."
    return grey, (note,) if coloured > 0.001 else ()
