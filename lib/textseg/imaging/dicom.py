"""DICOM, one file: a radiograph (CR, DX) or a CT slice. Pixels by ITK (GDCM), what the header says by pydicom."""

import re
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset

from textseg.imaging.decoded import Decoded, check_grid, check_values, grey_of, pixels_of
from textseg.imaging.dicom_header import modality_of, read_header
from textseg.imaging.grid import Grid
from textseg.imaging.picture import CT
from textseg.imaging.voi import stored_window

PATIENT_DIRECTIONS = {"L": "L", "R": "R", "A": "A", "P": "P", "H": "S", "F": "I"}
FRONTAL = ("AP", "PA", "ANTERO", "POSTERO")  # how ViewPosition begins then; some machines add words
SIDE_VIEW = re.compile(r"\b(lateral|oblique)")
STANDARD = "LI"  # columns towards the patient's left, rows towards the feet


def decode_dicom(path: Path, asked: str = "") -> Decoded:
    """One file with one picture. asked: the modality that the user insists on, or "".

    Raises PictureError naming the fault, and anything for a damaged file.
    """
    header = read_header(path, asked)
    grid, pixels = read_pixels(path)
    grey, warnings = grey_of(pixels, path.name)
    check_values(path.name, grey)
    return _decoded(header, grey, grid, warnings)


def read_pixels(path: Path) -> tuple[Grid, np.ndarray]:
    """Grid and values (z, y, x, and channels where there are several) of one file. Raises for a damaged one."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    image = reader.Execute()  # applies slope and intercept, and turns MONOCHROME1 round: bones come out bright
    grid = Grid.of(image)
    check_grid(path.name, grid)
    return grid, pixels_of(image)


def _decoded(header: Dataset, grey: np.ndarray, grid: Grid, warnings: tuple[str, ...]) -> Decoded:
    modality = modality_of(header)
    placed = header.get("ImagePositionPatient") is not None
    if modality == CT or (not modality and placed):
        return Decoded(grey, grid, grid.axes, modality, placed=placed, warnings=warnings)
    upright = header.get("ImageOrientationPatient") is not None and grid.axes[2] not in "SI"
    axes = grid.axes if upright else _axes_by_words(header)
    sides_known, of_sides = _sides(header, axes)
    window, of_window = stored_window(header, grey)
    warnings += of_sides + of_window
    return Decoded(grey, grid, axes, modality, window, placed and upright, sides_known, warnings)


def _axes_by_words(header: Dataset) -> str:
    """Where x, y and z of a radiograph run to: as PatientOrientation says, else as in standard frontal display.

    It counts where there is no direction matrix of an upright view (an axial one is a filler of some machines).
    """
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
    side = axes[2] in "LR" or SIDE_VIEW.search(meaning)
    if not side and (not named or named.startswith(FRONTAL)):
        return True, ()
    view = named or meaning or "side"
    return False, (f"This is not a frontal view ({view}): the patient's left and right mean nothing in it.",)
