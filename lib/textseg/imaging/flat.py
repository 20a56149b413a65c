"""Flat pictures: PNG, JPEG, WebP. They have no place in the patient and are taken to be in standard display."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from textseg.errors import PictureError
from textseg.imaging.decoded import Decoded, check_size, grey_of, pixels_of
from textseg.imaging.grid import Grid
from textseg.imaging.kinds import suffix_of

FLAT_AXES = "LIP"  # a frontal view; an axial slice in standard display is stored the same way
EXIF_ORIENTATION, UPRIGHT = 274, 1
GREY_ALPHA = 4  # PNG colour type
PNG_BEGINS, PNG_HEADER = b"\x89PNG\r\n\x1a\n", 26  # bytes, up to the colour type


def decode_flat(path: Path) -> Decoded:
    """Raises PictureError for a size out of bounds, RuntimeError, OSError or ValueError for a damaged file.

    ITK reads PNG. Pillow reads what ITK does not (WebP, PNG of grey and alpha) and JPEG, where ITK fills the missing
    half of a cut file with grey and says nothing.
    """
    depth, colour_type = _png_kind(path)
    if (depth, colour_type) == (16, GREY_ALPHA):
        raise PictureError(f"{path.name} has 16 bits of grey and alpha, which cannot be read. Export it without alpha.")
    if suffix_of(path) == ".png" and colour_type != GREY_ALPHA:
        reader = _header(path)
        check_size(path.name, reader.GetSize(), 2 * reader.GetNumberOfComponents())
        pixels, grid, notes = pixels_of(reader.Execute()), Grid.of(reader), ()
    else:
        pixels, notes = _by_pillow(path)
        grid = Grid.of(_header(path)) if suffix_of(path) in (".jpg", ".jpeg") else _plain_grid(pixels)
    grey, warnings = grey_of(pixels, path.name)
    layers = 1 if pixels.ndim == 3 or (pixels[..., :1] == pixels[..., :3]).all() else pixels.shape[-1]
    return Decoded(grey, grid, FLAT_AXES, placed=False, warnings=notes + warnings, layers=layers)


def _png_kind(path: Path) -> tuple[int, int]:
    """Bits per channel and colour type as a PNG's header says them; zeros for a file called otherwise.

    Raises ValueError for a file that is called PNG and is none: ITK would tell of a picture without pixels.
    """
    if suffix_of(path) != ".png":
        return 0, 0
    with path.open("rb") as file:
        header = file.read(PNG_HEADER)
    if len(header) < PNG_HEADER or not header.startswith(PNG_BEGINS):
        raise ValueError("not a PNG")
    return header[24], header[25]


def _header(path: Path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("PNGImageIO" if suffix_of(path) == ".png" else "JPEGImageIO")  # ITK would go by what is in it
    reader.ReadImageInformation()
    return reader


def _by_pillow(path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    try:
        with Image.open(path) as opened:
            check_size(path.name, opened.size, len(opened.getbands()))
            turned = opened.getexif().get(EXIF_ORIENTATION, UPRIGHT)
            pixels = np.asarray(opened.convert("L" if opened.mode in ("L", "1", "LA") else "RGB"))
    except Image.DecompressionBombError as error:
        raise PictureError(f"{path.name} has too many pixels. Make it smaller.") from error
    note = f"{path.name} asks to be turned (EXIF orientation {turned}). It was read as it is stored: check the sides."
    return pixels[None], (note,) if turned != UPRIGHT else ()


def _plain_grid(pixels: np.ndarray) -> Grid:
    return Grid((pixels.shape[2], pixels.shape[1], 1), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
