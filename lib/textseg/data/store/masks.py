"""The masks that a model made of a picture, one per segment name: an unchanged one is known when it comes back."""

import hashlib
import logging
import zlib
from pathlib import Path

import numpy as np

from textseg.data.store.durable import from_json, to_json
from textseg.errors import StoreError

SUFFIX = ".mask"
logger = logging.getLogger(__name__)


def pack_mask(segment: str, mask: np.ndarray) -> bytes:
    """A mask (z, y, x; above 0 is foreground) as one line of JSON and compressed bits."""
    head = to_json({"segment": segment, "shape": list(mask.shape)})
    return head + b"\n" + zlib.compress(np.packbits(mask > 0).tobytes(), level=1)


def unpack_mask(data: bytes, where: str) -> np.ndarray:
    """The inverse of `pack_mask`, as booleans. Raises ValueError for what is none, StoreError for a newer schema."""
    head, _, packed = data.partition(b"\n")
    shape = tuple(int(size) for size in from_json(head, where).get("shape", ()))
    try:
        bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    except zlib.error as error:
        raise ValueError(f"{where} is cut off") from error
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)


def mask_name(segment: str) -> str:
    """The file that a segment's last mask is kept in."""
    return hashlib.sha256(segment.encode("utf-8", "surrogatepass")).hexdigest()[:32] + SUFFIX


def read_mask_file(path: Path) -> np.ndarray | None:
    """A kept mask; None where there is none or it is damaged: then its segment counts as changed by a person."""
    try:
        return unpack_mask(path.read_bytes(), path.name)
    except FileNotFoundError:
        return None
    except (ValueError, OSError, StoreError) as error:
        logger.warning("%s cannot be used: %s", path, type(error).__name__)
        return None
