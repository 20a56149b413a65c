"""DICOM series: a folder of slices that make one volume. What is half a series is refused by name."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset

from textseg.errors import PictureError
from textseg.imaging.decoded import Decoded, check_grid, check_size, check_values, damaged_unless_read, pixels_of
from textseg.imaging.dicom import decode_dicom, read_pixels
from textseg.imaging.dicom_header import modality_of, read_header, read_tag
from textseg.imaging.grid import Grid
from textseg.imaging.kinds import DICOM_SUFFIXES, suffix_of

EVEN = 0.1  # how far a distance between slices may be from the usual one, as a share of it
SAME = 1e-3  # how far spacings (mm) and cosines may differ
ASIDE = 0.1  # mm a slice may lie off the line through the others: a tilted gantry shears the volume


def dicom_files(folder: Path) -> list[Path]:
    """The files of a folder that begin like DICOM, whatever they are called, by name; hidden ones left out."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [path for path in files if path.name.upper() != "DICOMDIR" and _begins_like_dicom(path)]


def count_series(folder: Path) -> int:
    """How many DICOM series lie in a folder; a damaged file counts as one, so that it is told of when it is read."""
    return len({read_tag(path, "SeriesInstanceUID") for path in dicom_files(folder)})


def decode_series(folder: Path, asked: str = "") -> Decoded:
    """The one series of a folder, slices in the order of their positions. asked: as in `decode_dicom`.

    Raises PictureError naming what is missing, or does not belong.
    """
    files = dicom_files(folder)
    _check_others(folder, files)
    if not files:
        raise PictureError(f"{folder.name} is a folder without DICOM files. Give a file, or a folder with one series.")
    if len(files) == 1:
        return decode_dicom(files[0], asked)
    slices = [Slice.of(folder.name, path, asked) for path in files]
    _check_one_series(folder.name, slices)
    _check_alike(folder.name, slices)
    slices = _in_order(folder.name, slices)
    first = slices[0].header
    check_size(folder.name, (first.Columns, first.Rows, len(slices)), 4)
    image = _read(folder.name, slices)
    grid, pixels = Grid.of(image), pixels_of(image)
    check_grid(folder.name, grid)
    if pixels.ndim != 3:
        raise PictureError(f"{folder.name} is a series in colour. Export it as grey.")
    check_values(folder.name, pixels)
    return Decoded(pixels, grid, grid.axes, modality_of(first))


@dataclass(frozen=True)
class Slice:
    """One file of a series. spacing, direction, position: as DICOM has them, () where the file does not say it."""

    path: Path
    header: Dataset
    spacing: tuple[float, ...]
    direction: tuple[float, ...]
    position: tuple[float, ...]

    @classmethod
    def of(cls, series: str, path: Path, asked: str) -> "Slice":
        """Raises PictureError naming series, file and fault."""
        try:
            with damaged_unless_read(path.name):
                header = read_header(path, asked)
                tags = ("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
                return cls(path, header, *(tuple(map(float, header.get(tag) or ())) for tag in tags))
        except PictureError as error:
            raise PictureError(f"{series}: {error}") from error

    @property
    def series(self) -> str:
        """The series that the file says it belongs to."""
        return str(self.header.get("SeriesInstanceUID") or "")

    @property
    def storage(self) -> tuple[str, ...]:
        """How values are stored: where it differs, ITK would take the first file's number type for all."""
        tags = ("BitsAllocated", "BitsStored", "PixelRepresentation", "RescaleSlope", "RescaleIntercept")
        return tuple(str(self.header.get(tag)) for tag in tags)


def _begins_like_dicom(path: Path) -> bool:
    """False also for a file that is gone by now: a copy under its way is renamed at its end."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def _check_others(folder: Path, files: list[Path]) -> None:
    """A file that is called DICOM, or has no bytes, and is no DICOM was a slice once: it must not be left out."""
    for path in sorted(set(folder.iterdir()) - set(files)):
        called = suffix_of(path) in DICOM_SUFFIXES or (not path.suffix and path.is_file() and not path.stat().st_size)
        if called and path.is_file() and not path.name.startswith("."):
            raise PictureError(f"{folder.name}: {path.name} cannot be read: it is damaged or empty. Copy it again.")


def _check_one_series(name: str, slices: list[Slice]) -> None:
    files = Counter(slice_.series for slice_ in slices)
    if len(files) > 1:
        first = {slice_.series: slice_ for slice_ in reversed(slices)}
        told = [
            f"{slice_.header.get('SeriesDescription') or slice_.path.name} ({files[series]} files)"
            for series, slice_ in list(first.items())[:3]
        ]
        raise PictureError(
            f"{name} holds {len(files)} DICOM series: {', '.join(told)}. Put each into a folder of its own."
        )


def _check_alike(name: str, slices: list[Slice]) -> None:
    """What most slices have is the series'; who differs is named."""
    for what, values in (
        ("another size", [(slice_.header.Rows, slice_.header.Columns) for slice_ in slices]),
        ("another pixel spacing", [slice_.spacing for slice_ in slices]),
        ("another direction", [slice_.direction for slice_ in slices]),
    ):
        usual = Counter(values).most_common(1)[0][0]
        odd = [slice_.path.name for slice_, value in zip(slices, values, strict=True) if not _alike(value, usual)]
        if odd:
            listed = ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
            raise PictureError(f"{name}: {listed} has {what} than the rest (a localizer?). Take it out of the folder.")


def _alike(values: tuple, others: tuple) -> bool:
    return values == others or (len(values) == len(others) and np.allclose(values, others, rtol=0, atol=SAME))


def _in_order(name: str, slices: list[Slice]) -> list[Slice]:
    """By position along the normal. Raises PictureError unless the slices are evenly spaced on a straight line."""
    for slice_ in slices:
        if len(slice_.position) != 3 or len(slice_.direction) != 6 or not np.isfinite(slice_.position).all():
            raise PictureError(
                f"{name}: {slice_.path.name} does not say where it lies (position, orientation). Export it anew."
            )
    normal = np.cross(slices[0].direction[:3], slices[0].direction[3:])
    slices = sorted(slices, key=lambda slice_: float(np.dot(slice_.position, normal)))
    positions = np.array([slice_.position for slice_ in slices])
    heights = positions @ normal
    _check_steps(name, slices, np.diff(heights))
    line = positions[0] + np.outer(heights - heights[0], normal)
    if np.abs(positions - line).max() > ASIDE:
        raise PictureError(f"{name} is sheared: its slices are not above one another (a tilted gantry?). Resample it.")
    return slices


def _check_steps(name: str, slices: list[Slice], steps: np.ndarray) -> None:
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    for index, step in enumerate(steps):
        before, after = slices[index].path.name, slices[index + 1].path.name
        if step < max(usual, 1e-3) * EVEN:
            raise PictureError(f"{name}: {before} and {after} lie at the same place. Keep one of them.")
        if abs(step - usual) > EVEN * usual:
            raise PictureError(
                f"{name}: slices are missing, or not evenly spaced, between {before} and {after} "
                f"({step:.2f} mm apart, elsewhere {usual:.2f} mm). Copy the whole series."
            )


def _read(name: str, slices: list[Slice]) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(slice_.path) for slice_ in slices])
    reader.SetImageIO("GDCMImageIO")
    if len({slice_.storage for slice_ in slices}) > 1:
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return reader.Execute()
    except RuntimeError:
        for slice_ in slices:
            with damaged_unless_read(f"{name}: {slice_.path.name}"):
                read_pixels(slice_.path)
        raise
