"""Whose picture it is, where the file says it."""

from pathlib import Path

from textseg.imaging.dicom_header import read_tag
from textseg.imaging.kinds import DICOM_SUFFIXES, suffix_of
from textseg.imaging.series import dicom_files


def patient_of(path: Path) -> str:
    """The patient ID of a DICOM file or series folder; "" where there is none, and for all other files."""
    files = dicom_files(path) if path.is_dir() else [path]
    if not files or (path.is_file() and suffix_of(path) not in DICOM_SUFFIXES):
        return ""
    return read_tag(files[0], "PatientID")
