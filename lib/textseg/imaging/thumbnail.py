"""A picture made small for a page, with its mask as an outline that is seen without colours."""

import io

import numpy as np
from PIL import Image

from textseg.imaging.picture import Picture

SIDE = 240  # pixels of the longer side
LINE, EDGE = 255, 0  # white, with black around it: one of the two stands out from any grey


def thumbnail(picture: Picture, masks: np.ndarray | None = None) -> bytes:
    """PNG of the displayed picture; of a volume, of the slice with most mask, else the middle one.

    masks: N x H x W on the displayed slices; above 0 is drawn, as a white line with a black one around it.
    """
    filled = masks is not None and bool(masks.any())
    index = int(masks.reshape(len(masks), -1).sum(1).argmax()) if filled else len(picture.pixels) // 2
    small = _small((picture.part(index, index + 1)[0] * 255).astype(np.uint8))
    if filled:
        inside = _small(np.where(masks[index] > 0, 255, 0).astype(np.uint8)) > 0  # a pixel of it is enough
        line = _grown(inside)
        small[_grown(line) & ~line] = EDGE
        small[line & ~inside] = LINE
    file = io.BytesIO()
    Image.fromarray(small).save(file, format="PNG")
    return file.getvalue()


def _small(grey: np.ndarray) -> np.ndarray:
    height, width = grey.shape
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.array(Image.fromarray(grey).resize(size, Image.Resampling.BOX))


def _grown(mask: np.ndarray) -> np.ndarray:
    """The mask and the four neighbours of each of its pixels."""
    padded = np.pad(mask, 1)
    return mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
