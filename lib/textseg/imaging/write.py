"""Masks out: image files on the source's own grid, and overlays for people."""

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from textseg.errors import OptionError, StoreError
from textseg.imaging.picture import Picture

MASK_SUFFIXES = (".nrrd", ".nii.gz", ".nii", ".mha")
MASK_TYPES = {"uint8": np.uint8, "uint16": np.uint16, "int16": np.int16, "int32": np.int32, "float32": np.float32}
OUTLINE = (255, 64, 64)


def write_mask(picture: Picture, masks: np.ndarray, path: Path, dtype: str = "uint8", compress: bool = True) -> None:
    """Write displayed masks (N x H x W of 0 and 1) on the picture's own size, spacing, origin and direction; 3-D.

    Raises OptionError for a suffix or number type that is not offered.
    """
    check_mask_name(path)
    if dtype not in MASK_TYPES:
        raise OptionError(f"A mask's number type is one of {', '.join(MASK_TYPES)}, not {dtype!r}.")
    sitk.WriteImage(picture.on_grid(masks.astype(MASK_TYPES[dtype])), str(path), useCompression=compress)


def check_mask_name(path: Path) -> None:
    """Raises OptionError for a suffix that masks are not written with."""
    if not path.name.endswith(MASK_SUFFIXES):
        raise OptionError(f"A mask is written as {', '.join(MASK_SUFFIXES)}, not as {path.name!r}.")


def write_new_mask(picture: Picture, masks: np.ndarray, folder: Path, suffix: str, dtype: str, compress: bool) -> Path:
    """`write_mask` to a new file in `folder`; the caller removes it. A write that fails leaves nothing behind."""
    with tempfile.NamedTemporaryFile(prefix="mask-", suffix=suffix, dir=folder, delete=False) as file:
        path = Path(file.name)
    try:
        write_mask(picture, masks, path, dtype, compress)
    except RuntimeError as error:
        path.unlink()
        raise StoreError("The mask could not be written. Make room on the server's disk, then run again.") from error
    except Exception:
        path.unlink()
        raise
    return path


def write_label(picture: Picture, label: np.ndarray, path: Path) -> None:
    """Write a label (z, y, x, as `read_label` gives it) on the picture's own grid."""
    sitk.WriteImage(picture.grid.image(label), str(path), useCompression=True)


def write_overlay(picture: Picture, masks: np.ndarray, path: Path) -> None:
    """Write the displayed picture with the mask tinted and outlined, as PNG; of a volume, the slice with most mask."""
    index = int(masks.reshape(len(masks), -1).sum(1).argmax())
    grey, mask = picture.part(index, index + 1)[0], masks[index] > 0
    colour = np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    tinted = np.where(mask[..., None], colour * 0.7 + np.array(OUTLINE) * 0.3, colour)
    tinted[_edge(mask)] = OUTLINE
    Image.fromarray(tinted.astype(np.uint8)).save(path, format="PNG")


def _edge(mask: np.ndarray) -> np.ndarray:
    """Foreground pixels with a neighbour in the background."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner
