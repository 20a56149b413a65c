"""NRRD and MetaImage begin with lines of text, which the libraries that read them trust: a line that is too long or a
number of dimensions that makes no sense ends the whole process there. Such headers are refused before.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from textseg.errors import PictureError
from textseg.imaging.kinds import suffix_of

LONGEST_HEADER = 2**20  # bytes
LONGEST_NRRD_LINE, LONGEST_METAIMAGE_LINE = 500, 250  # bytes; from 1,000 and 256 on their readers end the process
LINE_ENDS = re.compile(rb"\r\n|[\r\n]")
METAIMAGE_LINE = re.compile(rb"\s*([^=:]*?)\s*[=:]\s*(.*?)\s*")
NDIMS = re.compile(rb"\s*NDims\s*=\s*[1-9]\s*")  # MetaIO writes over its own memory beyond 10


def check_text_header(path: Path) -> None:
    """Raises PictureError for a header that is damaged or far too long, and for pixels kept in another file.

    Such a file may name any other file of this machine as its pixels: an upload must not reach it.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST_HEADER)
    ends = _metaimage_ends if suffix_of(path) == ".mha" else _nrrd_ends
    if not ends(path.name, _lines(text)):
        raise PictureError(f"{path.name} cannot be read: it is damaged, or its header is far too long. Export it anew.")


def _lines(text: bytes) -> Iterator[bytes]:
    """The lines of a header, until one with a NUL, where readers stop and we would not; for as long as one asks."""
    place = 0
    for end in LINE_ENDS.finditer(text):
        line = text[place : end.start()]
        if b"\0" in line:
            return
        yield line
        place = end.end()


def _nrrd_ends(name: str, lines: Iterator[bytes]) -> bool:
    """Whether an empty line ends the header, with no field before that is too long."""
    before = b""
    for line in lines:
        if not line and before:
            return True
        key = line.replace(b"=", b":").partition(b":")[0].strip().lower()
        if key in (b"data file", b"datafile"):
            raise _elsewhere(name)
        if len(line) > LONGEST_NRRD_LINE and not _is_free_text(line):
            return False
        before = line
    return False


def _is_free_text(line: bytes) -> bool:
    """A comment or a pair of key and value of an NRRD, which may have any length."""
    key, pair, _ = line.partition(b":=")
    return line.startswith(b"#") or bool(pair and b": " not in key and len(key) <= LONGEST_NRRD_LINE)


def _metaimage_ends(name: str, lines: Iterator[bytes]) -> bool:
    """Whether a line says that the pixels follow, after one with a number of dimensions that there can be.

    Other programs' own fields (0008|0060, dim[0]) may have any length; MetaIO's own are named in letters alone.
    """
    has_dimensions = False
    for line in lines:
        pair = METAIMAGE_LINE.fullmatch(line)
        key, value = (pair[1].lower(), pair[2].lower()) if pair else (b"", b"")
        if key == b"elementdatafile" and value != b"local":
            raise _elsewhere(name)
        if key == b"elementdatafile":
            return has_dimensions
        if b"ndims" in line.lower():
            has_dimensions = bool(NDIMS.fullmatch(line))
            if not has_dimensions:
                return False
        if b"elementdatafile" in line.lower() or (key.isalpha() and len(line) > LONGEST_METAIMAGE_LINE):
            return False
    return False


def _elsewhere(name: str) -> PictureError:
    return PictureError(f"{name} keeps its pixels in another file. Save it as one file.")
