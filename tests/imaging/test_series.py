"""Folders of DICOM slices: read in the order of their positions, or refused with what is missing or out of place."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from textseg.data.dicom_files import drawn_dicom, write_ct_series, write_radiograph
from textseg.errors import PictureError
from textseg.imaging.read import read_picture
from textseg.imaging.series import count_series

BODY = (7 * np.arange(5 * 6 * 7) - 1024).reshape(5, 6, 7).astype(np.int16)  # grows towards head, back and left
AXIAL = ["LPS", "LPI", "RPI", "RAS", "LAS"]  # from the feet, from the head, feet first, prone, mirrored
UPRIGHT = ["LIP", "LIA", "RIA", "PIR", "PIL", "AIL", "PSR"]  # coronal from front and back, sagittal from both sides
SPACING, ORIGIN = (0.7, 0.9, 2.5), (-31.5, 12.25, 40.0)
SIDE = 64  # rows and columns of `good`: its pixels are most of each file


def body(code: str = "LPS", angles: tuple[float, float, float] = (0, 0, 0)) -> sitk.Image:
    """BODY turned by three angles (degrees), with x, y and z stored as `code` says; z is the axis of the slices."""
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(*(math.radians(angle) for angle in angles))
    image = sitk.GetImageFromArray(BODY)
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(rotation.GetMatrix())
    return sitk.DICOMOrient(image, code)


def write_series(folder: Path, image: sitk.Image, names: tuple[str, ...] = (), numbers: tuple[int, ...] = ()) -> Path:
    """An ITK volume of Hounsfield units, one file per slice; names and instance numbers count up if none are given."""
    folder.mkdir()
    direction, spacing = np.array(image.GetDirection()).reshape(3, 3), image.GetSpacing()
    for index, slice_ in enumerate(sitk.GetArrayFromImage(image)):
        data = drawn_dicom((slice_ + 1024).astype(np.uint16), f"{folder.name} {index}", "CT", folder.name, 12)
        data.ImageOrientationPatient = [round(cosine, 8) for cosine in direction[:, :2].T.ravel()]
        data.ImagePositionPatient = [round(place, 8) for place in image.TransformIndexToPhysicalPoint((0, 0, index))]
        data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [spacing[1], spacing[0]], 1, -1024
        data.InstanceNumber = numbers[index] if numbers else index + 1
        data.save_as(folder / (names[index] if names else f"slice_{index:03d}.dcm"), write_like_original=False)
    return folder


@pytest.fixture
def good(tmp_path) -> Path:
    """The folder `series`: slice_000.dcm to slice_004.dcm, from the feet up, 2.5 mm apart."""
    values = np.random.default_rng(0).integers(-1000, 1000, (5, SIDE, SIDE))
    write_ct_series(tmp_path / "series", values, SPACING, "series")
    return tmp_path / "series"


def retag(path: Path, **tags: object) -> None:
    """Rewrite a DICOM file with other values; None takes a tag away."""
    data = dcmread(path)
    for keyword, value in tags.items():
        setattr(data, keyword, value)
        if value is None:
            delattr(data, keyword)
    data.save_as(path)


def voxels(image: sitk.Image) -> dict[tuple[float, ...], float]:
    """Where each voxel lies (mm) -> its value."""
    indices = [tuple(map(int, index)) for index in np.ndindex(*image.GetSize())]
    return {tuple(round(x, 3) for x in image.TransformIndexToPhysicalPoint(index)): image[index] for index in indices}


def read_by_itk(folder: Path) -> sitk.Image:
    """SimpleITK's own reading of a folder with one series."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize("angles", [(0, 0, 0), (11, -8, 17)], ids=["straight", "oblique"])
@pytest.mark.parametrize("code", AXIAL + UPRIGHT)
def test_any_direction_is_shown_with_the_right_on_the_left_and_keeps_its_voxels(tmp_path, code, angles):
    folder = write_series(tmp_path / "series", body(code, angles))
    picture = read_picture(folder)
    assert np.array_equal(picture.pixels, BODY)  # slices towards the head, rows to the back, columns to the left
    assert (picture.modality, picture.placed, picture.sides_known, picture.warnings) == ("ct", True, True, ())
    stored = voxels(picture.on_grid(picture.pixels))
    assert stored == voxels(read_by_itk(folder)) == voxels(body(code, angles))


NAMES_AND_NUMBERS = {
    "names reversed": (("e.dcm", "d.dcm", "c.dcm", "b.dcm", "a.dcm"), ()),
    "numbers reversed": ((), (5, 4, 3, 2, 1)),
    "both mixed": (("10.dcm", "9.dcm", "100.dcm", "1.dcm", "2.dcm"), (3, 1, 5, 2, 4)),
    "one number": ((), (1, 1, 1, 1, 1)),
    "no suffix": (("IM9", "IM10", "IM11", "IM", "1.2.840.5"), ()),
}


@pytest.mark.parametrize(("names", "numbers"), NAMES_AND_NUMBERS.values(), ids=NAMES_AND_NUMBERS)
def test_slices_are_ordered_by_position_whatever_their_names_and_numbers(tmp_path, names, numbers):
    folder = write_series(tmp_path / "series", body(), names, numbers)
    assert np.array_equal(read_picture(folder).pixels, BODY)


def test_other_files_hidden_files_and_sub_folders_are_ignored(tmp_path):
    folder = write_series(tmp_path / "series", body())
    (folder / "notes.txt").write_text("No pulmonary infection.\n" * 30)
    sitk.WriteImage(body(), str(folder / "ct.nii.gz"))
    for name in ("._slice_000.dcm", "DICOMDIR", "dicomdir"):
        shutil.copy(folder / "slice_000.dcm", folder / name)
    write_series(folder / "older", body("LIP"))
    assert np.array_equal(read_picture(folder).pixels, BODY)
    assert count_series(folder) == 1


@pytest.mark.parametrize(("slope", "intercept"), [(0.25, 0), (0, -0.5)])
def test_each_slice_has_its_own_rescaling(tmp_path, slope, intercept):
    folder = write_series(tmp_path / "series", body())
    expected = np.zeros(BODY.shape)
    for index, path in enumerate(sorted(folder.iterdir())):
        retag(path, RescaleSlope=1 + slope * index, RescaleIntercept=-1024 + intercept * index)
        expected[index] = (BODY[index] + 1024) * (1 + slope * index) - 1024 + intercept * index
    assert np.array_equal(read_picture(folder).pixels, expected)


def test_a_folder_with_one_file_is_that_picture(tmp_path):
    (tmp_path / "chest").mkdir()
    write_radiograph(tmp_path / "chest" / "CR0001", np.full((6, 7), 90, np.uint8), "chest")
    write_ct_series(tmp_path / "ct", BODY[:1], SPACING, "ct")
    chest, slice_ = read_picture(tmp_path / "chest"), read_picture(tmp_path / "ct")
    assert (chest.modality, chest.shape, chest.placed) == ("xray", (1, 6, 7), False)
    assert (slice_.modality, slice_.shape, slice_.placed) == ("ct", (1, 6, 7), True)
    assert (chest.pixels == 90 * 16).all() and np.array_equal(slice_.pixels, BODY[:1])


SMALL = np.zeros((SIDE // 2, SIDE), np.uint16)
ODD_SLICE = {  # tags of slice_002.dcm -> what the user reads
    "same place": ({"ImagePositionPatient": [0, 0, 2.5]}, r"series: slice_001\.dcm and slice_002\.dcm lie at the same"),
    "other size": ({"Rows": SIDE // 2, "PixelData": SMALL.tobytes()}, r"series: slice_002\.dcm has another size"),
    "localizer": ({"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}, r"series: slice_002\.dcm has another direction"),
    "pixel spacing": ({"PixelSpacing": [0.8, 0.8]}, r"series: slice_002\.dcm has another pixel spacing"),
    "no position": ({"ImagePositionPatient": None}, r"series: slice_002\.dcm does not say where it lies"),
    "off the line": ({"ImagePositionPatient": [0, 4, 5]}, "series is sheared: .*gantry"),
    "uneven": ({"ImagePositionPatient": [0, 0, 6]}, r"series: .*between slice_001\.dcm and slice_002\.dcm \(3\.5"),
    "two series": ({"SeriesInstanceUID": "2.25.77"}, "series holds 2 DICOM series.*folder of its own"),
    "frames": ({"NumberOfFrames": 2, "PixelData": bytes(4 * SIDE * SIDE)}, r"series: slice_002\.dcm holds 2 frames"),
    "vast": ({"Rows": 20_000, "Columns": 20_000}, r"series: slice_002\.dcm has 20000 x 20000 pixels"),
}


@pytest.mark.parametrize(("tags", "told"), ODD_SLICE.values(), ids=ODD_SLICE)
def test_a_slice_that_does_not_belong_is_refused_by_name(good, tags, told):
    retag(good / "slice_002.dcm", **tags)
    with pytest.raises(PictureError, match=told):
        read_picture(good)


def test_a_missing_slice_is_told_by_its_neighbours(good):
    (good / "slice_003.dcm").unlink()
    with pytest.raises(PictureError, match=r"series: slices are missing.*between slice_002\.dcm and slice_004\.dcm"):
        read_picture(good)


def test_a_slice_cut_off_in_the_middle_is_refused_by_name(good):
    path = good / "slice_002.dcm"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=r"series: slice_002\.dcm .*cut off"):
        read_picture(good)


EVERY_SLICE = {  # tags of each -> what the user reads
    "gantry tilt": ([{"ImagePositionPatient": [0, 0.7 * n, 2.5 * n]} for n in range(5)], "series is sheared: .*gantry"),
    "no positions": ([{"ImagePositionPatient": None}] * 5, r"series: slice_000\.dcm does not say where it lies"),
    "modality": ([{"Modality": "MR"}] * 5, r"series: slice_000\.dcm is DICOM of modality MR.*option modality"),
}


@pytest.mark.parametrize(("tags", "told"), EVERY_SLICE.values(), ids=EVERY_SLICE)
def test_slices_that_make_no_ct_volume_are_refused(good, tags, told):
    for path, values in zip(sorted(good.iterdir()), tags, strict=True):
        retag(path, **values)
    with pytest.raises(PictureError, match=told):
        read_picture(good)


def test_nifti_files_in_a_folder_are_no_series(tmp_path):
    (tmp_path / "study").mkdir()
    sitk.WriteImage(body(), str(tmp_path / "study" / "ct.nii.gz"))
    with pytest.raises(PictureError, match="study is a folder without DICOM files"):
        read_picture(tmp_path / "study")


def test_the_series_of_a_folder_are_counted(good):
    empty, both = good.parent / "empty", good.parent / "both"
    empty.mkdir()
    write_series(both, body())
    write_radiograph(both / "scout", np.zeros((6, 7), np.uint8), "scout")
    assert [count_series(folder) for folder in (empty, good, both)] == [0, 1, 2]
