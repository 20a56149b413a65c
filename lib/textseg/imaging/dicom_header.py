"""What a DICOM file says before its pixels are decoded, and what is refused for it."""

from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread

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
LARGE = 2**16  # bytes: longer elements, the pixels among them, are left in the file
LEAST_SPACING = 1e-6  # mm


def read_header(path: Path) -> Dataset:
    """All elements of a DICOM file; the pixels stay in the file. Raises anything for what is no DICOM."""
    return dcmread(path, defer_size=LARGE)


def check_header(header: Dataset, name: str, asked: str = "") -> None:
    """Raises PictureError for what is no single picture, of another modality, too large, cut off, or lacks geometry."""
    modality = str(header.get("Modality") or "")
    if modality and modality not in MODALITIES and not asked:
        raise PictureError(
            f"{name} is DICOM of modality {modality}; CR, DX and CT are supported. "
            "If it is a chest X-ray or a CT all the same, set the option modality to xray or ct."
        )
    rows, columns = int(header.get("Rows") or 0), int(header.get("Columns") or 0)
    if not rows or not columns or "PixelData" not in header:
        raise PictureError(f"{name} {WITHOUT_PIXELS}")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise PictureError(f"{name} holds {frames} frames; one is supported. Export each as a file, or a DICOM series.")
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 8)
    check_size(name, (columns, rows), samples * max(1, bits // 8))
    _check_pixels(header, name, rows * columns * samples * bits // 8)
    if modality_of(header) == CT:
        _check_geometry(header, name)


def modality_of(header: Dataset) -> str:
    """xray, ct, or "" where the file does not say it."""
    named = str(header.get("Modality") or "")
    return MODALITIES.get(named, "") if named else STORAGE.get(str(header.get("SOPClassUID")), "")


def _check_pixels(header: Dataset, name: str, expected: int) -> None:
    """GDCM fills what an uncompressed file lacks with whatever lies in memory, and shifts no bits into their place."""
    if not header.file_meta.TransferSyntaxUID.is_compressed and len(header.PixelData) < expected:
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
