"""Which picture it is, whatever its file is called and in which lossless format it is kept."""

import hashlib

import numpy as np

from textseg.imaging.picture import Picture


def pixels_sha256(picture: Picture) -> str:
    """SHA-256 of the displayed pixels in the file's own values, with their shape.

    Whole numbers are taken as 32-bit integers: a PNG and the NRRD that is made of it are the same picture.
    """
    pixels = picture.pixels
    whole = pixels.astype(np.int32) if pixels.dtype.kind in "iub" or _is_whole(pixels) else pixels.astype(np.float64)
    digest = hashlib.sha256(repr(whole.shape).encode())
    digest.update(np.ascontiguousarray(whole).data)
    return digest.hexdigest()


def _is_whole(pixels: np.ndarray) -> bool:
    low, high = pixels.min(initial=0), pixels.max(initial=0)
    return bool(low >= -(2**31) and high < 2**31 and np.array_equal(pixels, np.rint(pixels)))
