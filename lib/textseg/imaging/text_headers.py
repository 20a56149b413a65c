"""NRRD and MetaImage begin with lines of text, which the libraries that read them trust: a line that is too long or a
number of dimensions that makes no sense ends the whole process there. Such headers are refused before.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from textseg.errors import PictureError
from textseg.imaging.kinds import suffix_of

LONGEST_HEADER = 2**20  # bytes
LONGEST_LINE = {".nrrd": 500, ".mha": 250}  # bytes; NrrdIO ends the process beyond 1,000, MetaIO beyond 255
LINE_ENDS = re.compile(rb"\r\n|[\r\n]")
CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
METAIMAGE_LINE = re.compile(rb"\s*(\w+)\s*[=:]\s*(.*?)\s*")
NDIMS = re.compile(rb"[1-9]")  # MetaIO writes over its own memory beyond 10


def check_text_header(path: Path) -> None:
    """Raises PictureError for a header that is damaged or far too long, and for pixels kept in another file.

    Such a file may name any other file of this machine as its pixels: an upload must not reach it.
    """
    with path.open("rb") as file:
        text = file.read(LONGEST_HEADER)
    check = _metaimage_ends if suffix_of(path) == ".mha" else _nrrd_ends
    if not check(path.name, _lines(text, LONGEST_LINE[suffix_of(path)])):
        raise PictureError(f"{path.name} cannot be read: it is damaged, or its header is far too long. Export it anew.")


def _lines(text: bytes, longest: int) -> Iterator[bytes]:
    """The lines of a header, until one that no library should see; whoever asks stops at the header's end."""
    place = 0
    for end in LINE_ENDS.finditer(text):
        line = text[place : end.start()]
        if CONTROL.search(line) or (len(line) > longest and not _is_free_text(line, longest)):
            return
        yield line
        place = end.end()


def _is_free_text(line: bytes, longest: int) -> bool:
    """A comment or a pair of key and value of an NRRD, which are taken at any length."""
    key, pair, _ = line.partition(b":=")
    return line.startswith(b"#") or bool(pair and b": " not in key and len(key) <= longest)


def _nrrd_ends(name: str, lines: Iterator[bytes]) -> bool:
    """Whether an empty line ends the header."""
    before = b""
    for line in lines:
        if not line and before:
            return True
        key = line.replace(b"=", b":").partition(b":")[0].strip().lower()
        if key in (b"data file", b"datafile"):
            raise _elsewhere(name)
        before = line
    return False


def _metaimage_ends(name: str, lines: Iterator[bytes]) -> bool:
    """Whether a line says that the pixels follow, after one with a number of dimensions that there can be."""
    has_dimensions = False
    for line in lines:
        pair = METAIMAGE_LINE.fullmatch(line)
        key, value = (pair[1].lower(), pair[2]) if pair else (b"", b"")
        if key == b"elementdatafile":
            if value.lower() != b"local":
                raise _elsewhere(name)
            return has_dimensions
        if (line.strip() and not pair) or (key == b"ndims" and not NDIMS.fullmatch(value)):
            return False
        has_dimensions = has_dimensions or key == b"ndims"
    return False


def _elsewhere(name: str) -> PictureError:
    return PictureError(f"{name} keeps its pixels in another file. Save it as one file.")
