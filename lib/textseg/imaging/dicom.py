"""DICOM, one file: a radiograph (CR, DX) or a CT slice. Pixels by ITK (GDCM), what the header says by pydicom."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from textseg.errors import PictureError
from textseg.imaging.decoded import Decoded, check_grid, check_size, check_values, grey_of, pixels_of
from textseg.imaging.grid import Grid
from textseg.imaging.picture import CT, XRAY
from textseg.imaging.voi import stored_window

MODALITIES = {"CR": XRAY, "DX": XRAY, "DR": XRAY, "RG": XRAY, "CT": CT}
STORAGE = {  # SOP class, for files that leave the modality out
    "1.2.840.10008.5.1.4.1.1.1": XRAY,
    "1.2.840.10008.5.1.4.1.1.1.1": XRAY,
    "1.2.840.10008.5.1.4.1.1.2": CT,
}
PATIENT_DIRECTIONS = {"L": "L", "R": "R", "A": "A", "P": "P", "H": "S", "F": "I"}
FRONTAL_VIEWS = ("", "AP", "PA")
STANDARD = "LI"  # columns towards the patient's left, rows towards the feet
WITHOUT_PIXELS = "holds no pixels: it is DICOM without a picture, or cut off. Give the image itself, or copy it again."
PIXEL_DATA = b"\xe0\x7f\x10\x00"  # the tag (7FE0,0010), little endian


def decode_dicom(path: Path, asked: str = "") -> Decoded:
    """One file with one picture. asked: the modality that the user insists on, or "".

    Raises PictureError naming the fault.
    """
    header = read_header(path)
    check_header(header, path.name, asked)
    grid, pixels = _read(path)
    grey, warnings = grey_of(pixels, path.name)
    check_values(path.name, grey)
    modality = modality_of(header)
    placed = header.get("ImagePositionPatient") is not None
    if modality == CT or (not modality and placed):
        return Decoded(grey, grid, grid.axes, modality, placed=placed, warnings=warnings)
    axes = _axes_of_radiograph(header, grid)
    sides_known, of_sides = _sides(header, axes)
    window, of_window = stored_window(header, grey)
    return Decoded(grey, grid, axes, modality, window, placed, sides_known, warnings + of_sides + of_window)


def read_header(path: Path) -> Dataset:
    """Everything before the pixels. Raises PictureError when it is no DICOM file."""
    try:
        header = dcmread(path, stop_before_pixels=True)
        _ = header.get("Rows"), header.get("Modality")  # values are parsed when they are asked for
        return header
    except (InvalidDicomError, OSError, EOFError, ValueError, KeyError, NotImplementedError, AttributeError) as error:
        raise PictureError(f"{path.name} cannot be read: it is damaged, or not what its name says.") from error


def check_header(header: Dataset, name: str, asked: str = "") -> None:
    """Raises PictureError for what is no single picture, of another modality, too large, or without a geometry."""
    modality = str(header.get("Modality") or "")
    if modality and modality not in MODALITIES and not asked:
        raise PictureError(
            f"{name} is DICOM of modality {modality}; CR, DX and CT are supported. "
            "If it is a chest X-ray or a CT all the same, set the option modality to xray or ct."
        )
    rows, columns = header.get("Rows") or 0, header.get("Columns") or 0
    if not rows or not columns:
        raise PictureError(f"{name} {WITHOUT_PIXELS}")
    frames = int(header.get("NumberOfFrames") or 1)
    if frames > 1:
        raise PictureError(f"{name} holds {frames} frames; one is supported. Export each as a file, or a DICOM series.")
    samples, bits = int(header.get("SamplesPerPixel") or 1), int(header.get("BitsAllocated") or 8)
    check_size(name, (columns, rows), samples * max(1, bits // 8))
    if modality_of(header) == CT:
        _check_geometry(header, name)


def modality_of(header: Dataset) -> str:
    """xray, ct, or "" where the file does not say it."""
    named = str(header.get("Modality") or "")
    return MODALITIES.get(named, "") if named else STORAGE.get(str(header.get("SOPClassUID")), "")


def _read(path: Path) -> tuple[Grid, np.ndarray]:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        image = reader.Execute()  # applies slope and intercept, and turns MONOCHROME1 round: bones come out bright
    except RuntimeError as error:
        if PIXEL_DATA not in path.read_bytes():
            raise PictureError(f"{path.name} {WITHOUT_PIXELS}") from error
        raise PictureError(f"{path.name} cannot be read: it is damaged or cut off. Copy it again.") from error
    grid = Grid.of(image)
    check_grid(path.name, grid)
    return grid, pixels_of(image)


def _check_geometry(header: Dataset, name: str) -> None:
    """ITK puts a spacing of 1 and straight axes for values that make no sense; for CT they must make sense."""
    spacing, cosines = header.get("PixelSpacing"), header.get("ImageOrientationPatient")
    if spacing is not None and min(map(float, spacing), default=0) <= 0:
        raise PictureError(f"{name} has a pixel spacing of zero. Export it anew.")
    if cosines is None:
        return
    columns, rows = np.array(cosines[:3], float), np.array(cosines[3:], float)
    if len(cosines) != 6 or not np.allclose([columns @ columns, rows @ rows, columns @ rows], [1, 1, 0], atol=0.02):
        raise PictureError(f"{name} has a direction matrix that is singular or sheared. Export it anew.")


def _axes_of_radiograph(header: Dataset, grid: Grid) -> str:
    """Where x, y and z run to.

    The direction matrix where it is that of an upright view (an axial one is a filler that some machines write);
    else PatientOrientation; else standard frontal display.
    """
    if header.get("ImageOrientationPatient") is not None and grid.axes[2] not in "SI":
        return grid.axes
    letters = [PATIENT_DIRECTIONS.get(str(value)[:1].upper(), "") for value in header.get("PatientOrientation") or ()]
    pairs = ("LR", "AP", "SI")
    used = [pair for pair in pairs for letter in letters if letter and letter in pair]
    plane = "".join(letters) if len(letters) == 2 and len(set(used)) == 2 else STANDARD
    normal = next(pair for pair in pairs if not set(pair) & set(plane))
    return plane + normal[1]


def _sides(header: Dataset, axes: str) -> tuple[bool, tuple[str, ...]]:
    """Whether left and right of the patient can be told in a radiograph, and what to tell the user."""
    named = str(header.get("ViewPosition") or "").strip().upper()
    codes = header.get("ViewCodeSequence") or ()
    meaning = " ".join(str(code.get("CodeMeaning") or "").lower() for code in codes)
    lateral = axes[2] in "LR" or "lateral" in meaning or "oblique" in meaning
    if named in FRONTAL_VIEWS and not lateral:
        return True, ()
    view = named or meaning or "side"
    return False, (f"This is not a frontal view ({view}): the patient's left and right mean nothing in it.",)
