"""Picture files in: PNG, JPEG, WebP, NIfTI (slice or volume) and single-file DICOM CR/DX, read by ITK.

WebP, which ITK does not know, is decoded by Pillow. Everything else is refused by name.
"""

import os
from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True)
class _Decoded:
    """A file as ITK gives it: a grey 3-D image, what DICOM says of it, sentences for the user."""

    image: sitk.Image
    tags: dict[str, str]
    warnings: tuple[str, ...]


def read_picture(path: str | os.PathLike[str], modality: str = "auto") -> Picture:
    """Read one picture.

    modality: "xray" or "ct", or "auto": from DICOM, else a volume is CT and a single slice an X-ray.
    Raises PictureNotFound, or PictureError naming the file and the fault.
    """
    path = Path(path)
    if modality not in ("auto", *MODALITIES):
        raise OptionError(f"modality is one of auto, {', '.join(MODALITIES)}, not {modality!r}.")
    decoded = _decoded(path)
    pixels, displayed = display_slices(decoded.image)
    if not np.isfinite(pixels).all():
        raise PictureError(f"{path.name} holds values that are no numbers (NaN or infinite). Export it anew.")
    if decoded.tags.get("photometric") == "MONOCHROME1":
        pixels = pixels.max() - pixels
    grid = sitk.Image(decoded.image.GetSize(), sitk.sitkUInt8)
    grid.CopyInformation(decoded.image)
    if modality == "auto":
        modality = _modality(decoded)
    warnings = decoded.warnings
    if displayed is None:
        warnings += ("This is a sagittal (side) view: the patient's left and right cannot be told in it.",)
    return Picture(windowed(pixels, modality), grid, displayed, modality, displayed is not None, warnings)


def read_mask(path: str | os.PathLike[str]) -> np.ndarray:
    """A mask file as N x H x W booleans in standard display: every value above 0 is foreground.

    Raises as `read_picture` does.
    """
    return display_slices(_decoded(Path(path)).image)[0] > 0


def _decoded(path: Path) -> _Decoded:
    _check_file(path)
    try:
        image, tags = _read_webp(path) if suffix_of(path) == ".webp" else _read_itk(path)
    except (RuntimeError, OSError, ValueError) as error:
        raise PictureError(f"{path.name} cannot be read: it is damaged, or not what its name says.") from error
    image, warnings = _grey(_three_dimensional(image, path), path)
    return _Decoded(image, tags, warnings)


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


def _read_webp(path: Path) -> tuple[sitk.Image, dict[str, str]]:
    with Image.open(path) as opened:
        _check_size(opened.size, path)
        pixels = np.asarray(opened.convert("L" if opened.mode in ("L", "1") else "RGB"))
    return sitk.GetImageFromArray(pixels, isVector=pixels.ndim == 3), {}


def _read_itk(path: Path) -> tuple[sitk.Image, dict[str, str]]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    if suffix_of(path) in DICOM_SUFFIXES:
        reader.SetImageIO("GDCMImageIO")
    reader.ReadImageInformation()
    _check_size(reader.GetSize(), path)
    tags = _dicom_tags(reader) if suffix_of(path) in DICOM_SUFFIXES else {}
    if tags and tags["modality"] not in RADIOGRAPHS:
        raise PictureError(
            f"{path.name} is DICOM of modality {tags['modality'] or 'unknown'}; "
            f"single files of {' and '.join(RADIOGRAPHS)} are supported."
        )
    return reader.Execute(), tags


def _dicom_tags(reader: sitk.ImageFileReader) -> dict[str, str]:
    wanted = {"modality": "0008|0060", "photometric": "0028|0004"}
    return {name: reader.GetMetaData(tag).strip() if reader.HasMetaDataKey(tag) else "" for name, tag in wanted.items()}


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
    if channels not in (2, 3, 4) or pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"{path.name} has {channels} values per pixel. Export it as a grey picture.")
    colours = pixels[..., :1] if channels == 2 else pixels[..., :3]
    scale = 255 / np.iinfo(pixels.dtype).max
    coloured = float(((colours.max(-1).astype(np.float32) - colours.min(-1)) * scale > COLOURED).mean())
    if coloured > PHOTOGRAPH:
        raise PictureError(f"{path.name} is a colour picture, not an X-ray or a CT. Give the grey original.")
    weights = np.array([1.0] if channels == 2 else [0.299, 0.587, 0.114], dtype=np.float32)
    grey = sitk.GetImageFromArray(np.rint(colours @ weights).astype(pixels.dtype))
    grey.CopyInformation(image)
    note = f"{path.name} has coloured marks; its brightness alone was used."
    return grey, (note,) if coloured > 0.001 else ()


def _modality(decoded: _Decoded) -> str:
    if decoded.tags:
        return XRAY
    return CT if decoded.image.GetSize()[2] > 1 else XRAY
