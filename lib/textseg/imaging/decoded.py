"""What comes out of a file before anything is decided about it, and the bounds that every file is held to."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from textseg.errors import PictureError, TextSegError
from textseg.imaging.grid import Grid
from textseg.imaging.window import Window

MAX_PIXELS = 2**28  # 268 million
MAX_BYTES = 2**30  # decoded
COLOURED = 24  # of 255: channels further apart than this make a coloured pixel


@dataclass(frozen=True)
class Decoded:
    """The grey values of a file, z, y, x, with everything that the file itself says of them.

    axes: where x, y and z run to in the patient. modality: xray, ct or "" (unsaid). window: the file's own for an
    X-ray. placed, sides_known, warnings: as in Picture. layers: how many different values a pixel has in the file.
    """

    pixels: np.ndarray
    grid: Grid
    axes: str
    modality: str = ""
    window: Window | None = None
    placed: bool = True
    sides_known: bool = True
    warnings: tuple[str, ...] = ()
    layers: int = 1


@contextmanager
def damaged_unless_read(name: str) -> Iterator[None]:
    """Whatever a library raises inside the `with` for a damaged file becomes a PictureError."""
    try:
        yield
    except TextSegError:
        raise
    except Exception as error:  # damaged files make pydicom, nibabel and ITK raise nearly everything
        raise PictureError(
            f"{name} cannot be read: it is damaged, cut off, or not what its name says. Copy or export it again."
        ) from error


def check_size(name: str, size: tuple[int, ...], bytes_per_pixel: int = 1) -> None:
    """Before anything is decoded. Raises PictureError for no pixels and for too many."""
    pixels = int(np.prod([int(side) for side in size], dtype=object))
    if 0 < pixels <= MAX_PIXELS and pixels * bytes_per_pixel <= MAX_BYTES:
        return
    shape = " x ".join(map(str, size))
    raise PictureError(
        f"{name} has {shape} pixels of {bytes_per_pixel} bytes; at most {MAX_PIXELS:,} pixels and "
        f"{MAX_BYTES // 2**20:,} MB are supported. Make it smaller."
    )


def check_grid(name: str, grid: Grid) -> None:
    """Raises PictureError naming the fault of the geometry."""
    fault = grid.fault()
    if fault:
        raise PictureError(f"{name} {fault}. Export it anew.")


def check_values(name: str, pixels: np.ndarray) -> None:
    """Raises PictureError for values that are not real and finite."""
    if pixels.dtype.kind not in "biuf":
        raise PictureError(f"{name} holds values that are not grey values ({pixels.dtype}). Export it as grey.")
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise PictureError(f"{name} holds values that are no numbers (NaN or infinite). Export it anew.")


def pixels_of(image: sitk.Image) -> np.ndarray:
    """z, y, x of an ITK image; a last axis for its channels where it has several."""
    pixels = sitk.GetArrayFromImage(image)
    return pixels[None] if image.GetDimension() == 2 else pixels


def grey_of(pixels: np.ndarray, name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Luminance (Rec. 601) of z, y, x, channel; grey pixels (z, y, x) come back as they are. And what to tell the user.

    Raises PictureError for anything but RGB and RGBA of 8 or 16 bits.
    """
    if pixels.ndim == 3:
        return pixels, ()
    if pixels.shape[-1] not in (3, 4) or pixels.dtype not in (np.uint8, np.uint16):
        raise PictureError(f"{name} has {pixels.shape[-1]} values per pixel. Export it as a grey picture.")
    red, green, blue = (pixels[..., channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(red, blue):
        return np.ascontiguousarray(red), ()
    some = pixels[:, ::4, ::4, :3]
    coloured = some.max(-1) - some.min(-1) > COLOURED * (np.iinfo(pixels.dtype).max / 255)
    grey = red * np.float32(0.299)
    grey += green * np.float32(0.587)
    grey += blue * np.float32(0.114)
    note = f"{name} is in colour, or has coloured marks: its brightness alone was used."
    return np.rint(grey, out=grey).astype(pixels.dtype), (note,) if coloured.mean() > 0.001 else ()
