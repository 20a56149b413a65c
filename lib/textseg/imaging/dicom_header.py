"""What a DICOM file says before its pixels are decoded, and what is refused for it."""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.filereader import read_file_meta_info, read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian

from textseg.errors import PictureError
from textseg.imaging.decoded import check_size
from textseg.imaging.picture import CT, XRAY

MODALITIES = {"CR": XRAY, "DX": XRAY, "DR": XRAY, "RG": XRAY, "CT": CT}
STORAGE = {  # SOP class, for files that leave the modality out
    "1.2.840.10008.5.1.4.1.1.1": XRAY,
    "1.2.840.10008.5.1.4.1.1.1.1": XRAY,
    "1.2.840.10008.5.1.4.1.1.2": CT,
}
WITHOUT_PIXELS = "holds no pixels: it is DICOM without a picture, or cut off. Give the image itself, or copy it again."
LARGE = 2**16  # bytes: longer elements are left in the file until they are asked for
LEAST_SPACING = 1e-6  # mm
PIXELS = 0x7FE00010
PIXEL_KINDS = ("OB", "OW", "UN")
UNDEFINED = 0xFFFFFFFF  # as a length: fragments, until the last
FRAGMENT = struct.Struct("<HHL")  # group, element, length
ITEM, LAST = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


@dataclass(frozen=True)
class _PixelElement:
    """Where the pixels lie in their file. kind: value representation, None where the file names none; length: bytes, as
    the file claims; place: of their first byte; size: of the file.
    """

    kind: str | None
    length: int
    place: int
    size: int

    @property
    def is_packed(self) -> bool:
        """Whether they are fragments of compressed pixels, as far as the file claims."""
        return self.length == UNDEFINED

    def holds(self, expected: int) -> bool:
        """Whether so many bytes or more are in the file, and all that it claims."""
        return expected <= self.length <= self.size - self.place

    def holds_fragments(self, file: BinaryIO) -> bool:
        """Whether compressed pixels are in the file from the first fragment to the last (DICOM part 5, A.4)."""
        place = self.place
        while place + FRAGMENT.size <= self.size:
            file.seek(place)
            *tag, length = FRAGMENT.unpack(file.read(FRAGMENT.size))
            if tuple(tag) == LAST:
                return length == 0
            if tuple(tag) != ITEM:
                return False
            place += FRAGMENT.size + length
        return False


def read_header(path: Path, asked: str = "") -> Dataset:
    """All elements of a DICOM file before its pixels, which are not read. asked: the modality that the user insists on.

    Raises PictureError for what is no single picture, of another modality, too large, cut off, or lacks geometry, and
    anything for what is no DICOM.
    """
    _check_not_deflated(path)
    with path.open("rb") as file:
        header, pixels = _read(file)
        _check_kind(header, path.name, asked)
        if pixels is None:
            raise PictureError(f"{path.name} {WITHOUT_PIXELS}")
        _check_pixels(header, pixels, path.name, file)
    if modality_of(header) == CT:
        _check_geometry(header, path.name)
    return header


def read_tag(path: Path, keyword: str) -> str:
    """What a DICOM file says under one keyword before its pixels; "" where it says nothing, or is damaged."""
    try:
        _check_not_deflated(path)
        return str(dcmread(path, stop_before_pixels=True, specific_tags=[keyword]).get(keyword) or "").strip()
    except Exception:  # pydicom raises nearly everything for a damaged file
        return ""


def _check_not_deflated(path: Path) -> None:
    """All of such a file would be unpacked to read a line of it, and a small one may hold gigabytes."""
    if read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise PictureError(
            f"{path.name} is deflated DICOM, which is not supported. Export it uncompressed, or as JPEG 2000."
        )


def _read(file: BinaryIO) -> tuple[Dataset, _PixelElement | None]:
    found: list[tuple[str | None, int]] = []

    def at_pixels(tag: int, kind: str | None, length: int) -> bool:
        if tag == PIXELS:
            found.append((kind, length))
        return tag == PIXELS

    header = read_partial(file, stop_when=at_pixels, defer_size=LARGE)
    if not found:
        return header, None
    kind, length = found[-1]
    place = file.tell() + (8 if kind is None else 12)  # it stands before the element: tag, kind, length
    return header, _PixelElement(kind, length, place, os.fstat(file.fileno()).st_size)


def _check_kind(header: Dataset, name: str, asked: str) -> None:
    modality = str(header.get("Modality") or "")
    if modality and modality not in MODALITIES and not asked:
        raise PictureError(
            f"{name} is DICOM of modality {modality}; CR, DX and CT are supported. "
            "If it is a chest X-ray or a CT all the same, set the option modality to xray or ct."
        )
    if not header.get("Rows") or not header.get("Columns"):
        raise PictureError(f"{name} {WITHOUT_PIXELS}")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise PictureError(f"{name} holds {frames} frames; one is supported. Export each as a file, or a DICOM series.")


def modality_of(header: Dataset) -> str:
    """xray, ct, or "" where the file does not say it."""
    named = str(header.get("Modality") or "")
    return MODALITIES.get(named, "") if named else STORAGE.get(str(header.get("SOPClassUID")), "")


def _check_pixels(header: Dataset, pixels: _PixelElement, name: str, file: BinaryIO) -> None:
    """GDCM fills what an uncompressed file lacks with whatever lies in memory, makes room for any length that a damaged
    file claims (gigabytes), and shifts no bits into their place.
    """
    rows, columns = int(header.Rows), int(header.Columns)
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 8)
    check_size(name, (columns, rows), samples * max(1, bits // 8))
    packed = header.file_meta.TransferSyntaxUID.is_compressed
    if pixels.kind not in (PIXEL_KINDS if packed else (None, *PIXEL_KINDS)) or packed is not pixels.is_packed:
        raise PictureError(f"{name} is damaged, or stores its pixels otherwise than it says. Copy or export it again.")
    if not (pixels.holds_fragments(file) if packed else pixels.holds(rows * columns * samples * bits // 8)):
        raise PictureError(f"{name} is cut off: it holds fewer pixels than it says. Copy or export it again.")
    stored, high = header.get("BitsStored"), header.get("HighBit")
    if stored is not None and high is not None and int(high) != int(stored) - 1:
        raise PictureError(f"{name} stores its bits in an unusual place (high bit {high}). Export it anew.")


def _check_geometry(header: Dataset, name: str) -> None:
    """ITK puts a spacing of 1 and straight axes for values that make no sense; for CT they must make sense."""
    spacing, cosines = header.get("PixelSpacing"), header.get("ImageOrientationPatient")
    if spacing is not None and not all(LEAST_SPACING < float(step) < np.inf for step in spacing):
        raise PictureError(f"{name} has a pixel spacing that is zero or no number. Export it anew.")
    if cosines is None:
        return
    columns, rows = np.array(cosines[:3], float), np.array(cosines[3:], float)
    if len(cosines) != 6 or not np.allclose([columns @ columns, rows @ rows, columns @ rows], [1, 1, 0], atol=0.02):
        raise PictureError(f"{name} has a direction matrix that is singular or sheared. Export it anew.")
