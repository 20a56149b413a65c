"""Which pictures a model was trained on, as hashes that tell nothing else, so that none of them scores it later.

A copy that was compressed with loss is another picture. The hashes beside the shipped weights are those of the pictures
that they were trained on, and of their published PNG files where we have them.
"""

from collections.abc import Iterable
from pathlib import Path

from textseg.data.records import Record
from textseg.errors import DataError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.read import read_picture

SUFFIX = ".seen"  # beside weights, of the same stem or called as their data set
BYTES = 8  # of a SHA-256 of the pixels, see `imaging.identity`: two of a million pictures are never taken for one


class Seen:
    """A set of pictures by the SHA-256 of their pixels (hex). Only the first eight bytes are kept."""

    def __init__(self, hashes: Iterable[str] = ()) -> None:
        self._known = frozenset(_short(each) for each in hashes)

    def __contains__(self, pixels: str) -> bool:
        return _short(pixels) in self._known

    def __len__(self) -> int:
        return len(self._known)

    def joined(self, hashes: Iterable[str]) -> "Seen":
        """These and others."""
        joined = Seen(hashes)
        joined._known |= self._known
        return joined

    def write(self, path: Path) -> None:
        """All of them, sorted, one after the other."""
        partial = path.with_suffix(f"{SUFFIX}.partial")
        partial.write_bytes(b"".join(sorted(self._known)))
        partial.replace(path)

    @classmethod
    def of(cls, records: Iterable[Record]) -> "Seen":
        """The pictures of records, which are read for it."""
        return cls(pixels_sha256(read_picture(record.image, hint=record.modality)) for record in records)

    @classmethod
    def beside(cls, weights: Path, data: str) -> "Seen":
        """What lies beside weights: their own file, else that of the data set that they were trained on, by its name.

        Raises DataError as `read`.
        """
        own = weights.with_suffix(SUFFIX)
        return cls.read(own if own.is_file() else weights.with_name(f"{data}{SUFFIX}"))

    @classmethod
    def read(cls, path: Path) -> "Seen":
        """What `write` wrote; of weights that tell nothing, nothing is known. Raises DataError for a cut file."""
        if not path.is_file():
            return cls()
        data = path.read_bytes()
        if len(data) % BYTES:
            raise DataError(f"{path.name} is cut off. Copy it again, or install the weights that it belongs to again.")
        return cls(data[start : start + BYTES].hex() for start in range(0, len(data), BYTES))


def _short(pixels: str) -> bytes:
    return bytes.fromhex(pixels)[:BYTES]
