"""DICOM series: a folder of slices that make one volume. What is half a series is refused by name."""

from collections import Counter
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset, dcmread

from textseg.errors import PictureError
from textseg.imaging.decoded import Decoded, check_grid, check_size, check_values, pixels_of
from textseg.imaging.dicom import decode_dicom
from textseg.imaging.dicom_header import check_header, damaged_unless_read, modality_of, read_header
from textseg.imaging.grid import Grid

EVEN = 0.1  # how far a distance between slices may be from the usual one, as a share of it
ASIDE = 0.1  # mm a slice may lie off the line through the others: a tilted gantry shears the volume

Slices = list[tuple[Path, Dataset]]


def dicom_files(folder: Path) -> list[Path]:
    """The files of a folder that begin like DICOM, whatever they are called, by name; hidden ones left out."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return [path for path in files if path.name.upper() != "DICOMDIR" and _begins_like_dicom(path)]


def count_series(folder: Path) -> int:
    """How many DICOM series lie in a folder."""
    tags = ["SeriesInstanceUID"]
    headers = (dcmread(path, stop_before_pixels=True, specific_tags=tags, force=True) for path in dicom_files(folder))
    return len({_series(header) for header in headers})


def decode_series(folder: Path, asked: str = "") -> Decoded:
    """The one series of a folder, slices in the order of their positions. asked: as in `decode_dicom`.

    Raises PictureError naming what is missing, or does not belong.
    """
    files = dicom_files(folder)
    if not files:
        raise PictureError(f"{folder.name} is a folder without DICOM files. Give a file, or a folder with one series.")
    if len(files) == 1:
        return decode_dicom(files[0], asked)
    with damaged_unless_read(folder.name):
        slices = _headers(folder.name, files)
        for path, header in slices:
            _check_header(folder.name, header, path, asked)
        _check_alike(folder.name, slices)
        slices = _in_order(folder.name, slices)
        first = slices[0][1]
        check_size(folder.name, (first.Columns, first.Rows, len(slices)), 4)
        image = _read(folder.name, slices)
        grid, pixels = Grid.of(image), pixels_of(image)
        check_grid(folder.name, grid)
        if pixels.ndim != 3:
            raise PictureError(f"{folder.name} is a series in colour. Export it as grey.")
        check_values(folder.name, pixels)
        return Decoded(pixels, grid, grid.axes, modality_of(first))


def _begins_like_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _series(header: Dataset) -> str:
    return str(header.get("SeriesInstanceUID") or "")


def _headers(name: str, files: list[Path]) -> Slices:
    slices = []
    for path in files:
        with damaged_unless_read(f"{name}: {path.name}"):
            slices.append((path, read_header(path)))
    _check_one_series(name, slices)
    return slices


def _check_header(name: str, header: Dataset, path: Path, asked: str) -> None:
    try:
        check_header(header, path.name, asked)
        del header.PixelData  # read to be measured; kept, it would be the whole volume once more
    except PictureError as error:
        raise PictureError(f"{name}: {error}") from error


def _check_one_series(name: str, slices: Slices) -> None:
    files = Counter(_series(header) for _, header in slices)
    if len(files) > 1:
        first = {_series(header): (path, header) for path, header in reversed(slices)}
        told = [
            f"{header.get('SeriesDescription') or path.name} ({files[series]} files)"
            for series, (path, header) in list(first.items())[:3]
        ]
        raise PictureError(
            f"{name} holds {len(files)} DICOM series: {', '.join(told)}. Put each into a folder of its own."
        )


def _check_alike(name: str, slices: Slices) -> None:
    """The most common size, spacing and direction is the series; who differs is named."""
    for what, key in (("another size", _size), ("another pixel spacing", _spacing), ("another direction", _direction)):
        keys = [key(header) for _, header in slices]
        usual = max(set(keys), key=keys.count)
        odd = [path.name for (path, _), value in zip(slices, keys, strict=True) if value != usual]
        if odd:
            listed = ", ".join(odd[:3]) + (f" and {len(odd) - 3} more" if len(odd) > 3 else "")
            raise PictureError(f"{name}: {listed} has {what} than the rest (a localizer?). Take it out of the folder.")


def _size(header: Dataset) -> tuple:
    return header.get("Rows"), header.get("Columns")


def _spacing(header: Dataset) -> tuple:
    return tuple(round(float(step), 4) for step in header.get("PixelSpacing") or ())


def _direction(header: Dataset) -> tuple:
    return tuple(round(float(cosine), 3) + 0.0 for cosine in header.get("ImageOrientationPatient") or ())


def _in_order(name: str, slices: Slices) -> Slices:
    """By position along the normal. Raises PictureError unless the slices are evenly spaced on a straight line."""
    without = [path.name for path, header in slices if len(header.get("ImagePositionPatient") or ()) != 3]
    if without or not _direction(slices[0][1]):
        named = (without or [slices[0][0].name])[0]
        raise PictureError(f"{name}: {named} does not say where it lies (no position, no orientation). Export it anew.")
    cosines = np.array(slices[0][1].ImageOrientationPatient, float)
    normal = np.cross(cosines[:3], cosines[3:])
    positions = np.array([header.ImagePositionPatient for _, header in slices], float)
    order = np.argsort(positions @ normal, kind="stable")
    slices, positions = [slices[index] for index in order], positions[order]
    steps = np.diff(positions @ normal)
    _check_steps(name, slices, steps)
    line = positions[0] + np.outer(positions @ normal - positions[0] @ normal, normal)
    if np.abs(positions - line).max() > ASIDE:
        raise PictureError(f"{name} is sheared: its slices are not above one another (a tilted gantry?). Resample it.")
    return slices


def _check_steps(name: str, slices: Slices, steps: np.ndarray) -> None:
    usual = float(np.median(steps))
    for index, step in enumerate(steps):
        before, after = slices[index][0].name, slices[index + 1][0].name
        if step < max(usual, 1e-3) * EVEN:
            raise PictureError(f"{name}: {before} and {after} lie at the same place. Keep one of them.")
        if abs(step - usual) > EVEN * usual:
            raise PictureError(
                f"{name}: slices are missing, or not evenly spaced, between {before} and {after} "
                f"({step:.2f} mm apart, elsewhere {usual:.2f} mm). Copy the whole series."
            )


def _read(name: str, slices: Slices) -> sitk.Image:
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path, _ in slices])
    reader.SetImageIO("GDCMImageIO")
    scales = {(str(header.get("RescaleSlope")), str(header.get("RescaleIntercept"))) for _, header in slices}
    if len(scales) > 1:
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return reader.Execute()
    except RuntimeError as error:
        damaged = next((path.name for path, _ in slices if not _readable(path)), name)
        raise PictureError(f"{name}: {damaged} cannot be read: it is damaged or cut off. Copy it again.") from error


def _readable(path: Path) -> bool:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.SetImageIO("GDCMImageIO")
    try:
        reader.Execute()
    except RuntimeError:
        return False
    return True
