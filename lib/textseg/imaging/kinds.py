"""Which kinds of picture file are read, told by their names."""

from pathlib import Path

from textseg.errors import PictureError

FLAT_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
NIFTI_SUFFIXES = (".nii", ".nii.gz")
NRRD_SUFFIXES = (".nrrd", ".mha")
DICOM_SUFFIXES = (".dcm", ".dicom")
SUFFIXES = (*FLAT_SUFFIXES, *NIFTI_SUFFIXES, *NRRD_SUFFIXES, *DICOM_SUFFIXES)


def suffix_of(path: Path) -> str:
    """The lower-case suffix, with .nii.gz as one."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def stem_of(path: Path) -> str:
    """The file name without its suffix (.nii.gz as one): the picture's id in the studies folder."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def is_picture_name(path: Path) -> bool:
    """True for a name of a kind that is read."""
    return suffix_of(path) in SUFFIXES


def check_kind(path: Path) -> None:
    """Raises PictureError for a name of another kind, naming those that are read."""
    if not is_picture_name(path):
        raise PictureError(
            f"{path.name} is of a kind that is not supported. Supported: {', '.join(SUFFIXES)}, "
            "and folders that hold one DICOM series."
        )
