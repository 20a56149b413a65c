"""Labels in: every voxel lies where it lay, or the file is refused. A label never lands mirrored or moved."""

import tempfile
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from textseg.data.dicom_files import write_radiograph
from textseg.errors import DataError, PictureError, PictureNotFound
from textseg.imaging.labels import read_label, read_mask
from textseg.imaging.picture import Picture
from textseg.imaging.read import read_picture

ORIENTATIONS = ["".join(code) for axes in permutations(("RL", "AP", "SI")) for code in product(*axes)]
FLAT, VOLUME = np.zeros((1, 12, 17), np.uint16), np.zeros((5, 7, 9), np.uint16)
FLAT[0, 1, 2:5], FLAT[0, 8, 14], FLAT[0, 4:6, 9] = 1, 2, 300
VOLUME[1, 1, 2:6], VOLUME[3, 4:6, 3], VOLUME[2, 2:4, 6] = 1, 2, 300
PLACES = {"straight.nii.gz": ("LPS", 0, 0, 0), "oblique.nrrd": ("LPS", 12, -7, 20)}
PLACES |= {"permuted.nii.gz": ("SAL", -9, 2, 6), "left-handed.nrrd": ("LAS", 3, 8, -5)}
NOT_ITS_PLACE = r"does not lie on its picture.*picture's own grid\."


def image_of(values: np.ndarray, code: str = "LPS", *angles: float) -> sitk.Image:
    """Values (head, back, left) as an ITK image stored as `code` and turned by three angles (degrees)."""
    rotation = sitk.Euler3DTransform((0, 0, 0), *np.radians(angles or (0, 0, 0)))
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-31.5, 12.25, 40.0))
    image.SetDirection(rotation.GetMatrix())
    return sitk.DICOMOrient(image, code)


def flat_picture(path: Path, **tags: object) -> Picture:
    """A PNG, JPEG or CR DICOM of FLAT's size, bright where FLAT has foreground."""
    grey = np.where(FLAT[0] > 0, 220, 20).astype(np.uint8)
    if path.suffix == ".dcm":
        write_radiograph(path, grey, path.stem, **tags)
    else:
        Image.fromarray(grey).save(path, **({"dpi": (96, 96)} if path.stem == "dpi" else {}))
    return read_picture(path)


def written(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path))
    return path


def regridded(image: sitk.Image, origin=None, signs=(1, 1, 1), order=(0, 1, 2), stretch=(1, 1, 1)) -> sitk.Image:
    """The same voxels under another geometry: they do not stay where they were."""
    axes = np.array(image.GetDirection()).reshape(3, 3)[:, list(order)] * np.array(signs)
    image = sitk.Image(image)
    image.SetDirection(axes.ravel())
    image.SetSpacing(np.array(image.GetSpacing()) * stretch)
    image.SetOrigin(image.GetOrigin() if origin is None else origin)
    return image


def moved(image: sitk.Image, *voxels: float) -> sitk.Image:
    """The same voxels, that many further along the image's own axes."""
    return regridded(image, image.TransformContinuousIndexToPhysicalPoint(voxels))


def centred(image: sitk.Image) -> sitk.Image:
    """As Slicer's option Center opens it: the axes are kept, and the middle of the volume is the origin."""
    return moved(regridded(image, (0, 0, 0)), *(-(size - 1) / 2 for size in image.GetSize()))


def put_in_place(label: sitk.Image, picture: sitk.Image) -> np.ndarray:
    """z, y, x of the picture's size: every foreground voxel of the label where its physical point lies."""
    values, laid = sitk.GetArrayFromImage(label), np.zeros(picture.GetSize()[::-1], np.uint16)
    for index in np.argwhere(values):
        point = label.TransformIndexToPhysicalPoint([int(step) for step in index[::-1]])
        laid[picture.TransformPhysicalPointToIndex(point)[::-1]] = values[tuple(index)]
    return laid


def check_refused(path: Path, picture: Picture, said: str, error: type[Exception] = DataError) -> None:
    """The message names the file, and says what to do."""
    with pytest.raises(error, match=said) as raised:
        read_label(path, picture)
    assert type(raised.value) is error and path.name in str(raised.value)


@pytest.fixture(params=["chest.png", "dpi.png", "chest.jpg", "dpi.jpg", "chest.dcm"])
def flat(request, tmp_path):
    """A picture that says nothing of its place."""
    return flat_picture(tmp_path / request.param)


@pytest.fixture(params=PLACES)
def placed(request, tmp_path):
    """A volume that says where it lies, and VOLUME on its grid; the volume is bright where that has foreground."""
    grey = np.where(VOLUME > 0, 220, 20).astype(np.uint8)
    path = written(image_of(grey, *PLACES[request.param]), tmp_path / request.param)
    return read_picture(path), image_of(VOLUME, *PLACES[request.param])


in_place = {
    "as it is": lambda image: image,
    "reoriented": lambda image: sitk.DICOMOrient(image, "PIR"),
    "permuted": lambda image: sitk.PermuteAxes(image, [2, 0, 1]),
    "flipped": lambda image: sitk.Flip(image, [True, False, True]),
}
same = in_place | {
    "centred": centred,
    "another spacing": lambda image: regridded(image, stretch=(0.3, 1.7, 5)),
}
part_or_more = in_place | {
    "cropped": lambda image: sitk.DICOMOrient(sitk.DICOMOrient(image, "LPS")[2:7, 1:6, 1:4], "SAL"),
    "padded": lambda image: sitk.ConstantPad(image, [1, 0, 2], [0, 3, 1]),
    "padded and turned": lambda image: sitk.DICOMOrient(sitk.ConstantPad(image, [1, 2, 2], [1, 3, 1]), "IRP"),
}
elsewhere = {
    "mirrored": lambda image: regridded(image, signs=(-1, 1, 1)),
    "upside down, another spacing": lambda image: regridded(image, signs=(1, -1, 1), stretch=(2, 2, 1)),
    "mirrored, centred": lambda image: centred(regridded(image, signs=(-1, 1, 1))),
    "transposed": lambda image: regridded(image, order=(1, 0, 2)),
    "finer": lambda image: sitk.Expand(image, [2, 2, 1], sitk.sitkNearestNeighbor),
    "larger, with foreground outside": lambda image: sitk.ConstantPad(image, [1, 1, 1], [1, 1, 1], 7),
}
another_size = elsewhere | {
    "part": lambda image: image[2:15, 1:9],
    "two slices": lambda image: sitk.ConstantPad(image, [0, 0, 0], [0, 0, 1]),
    "smaller PNG": lambda image: sitk.GetImageFromArray(FLAT[0, 1:]),
    "transposed PNG": lambda image: sitk.GetImageFromArray(FLAT[0].T),
}
misplaced = elsewhere | {
    "half a voxel off": lambda image: moved(image, 0.5, 0, 0),
    "three voxels off": lambda image: moved(image, 0, 0, 3),
    "beyond one side": lambda image: moved(sitk.ConstantPad(image, [0, 0, 0], [1, 1, 1]), 1, 0, 0),
    "turned by ten degrees": lambda image: image_of(VOLUME, "LPS", 10, 10, 10),
    "plain axes": lambda image: sitk.GetImageFromArray(sitk.GetArrayFromImage(image)),
}


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nrrd"])
@pytest.mark.parametrize("how", same)
def test_a_label_with_the_voxels_of_a_flat_picture_is_laid_on_them(tmp_path, flat, how, name):
    path = written(same[how](flat.grid.image(FLAT)), tmp_path / name)
    assert np.array_equal(read_label(path, flat), FLAT)


@pytest.mark.parametrize("spacing", [1, 0.14])
@pytest.mark.parametrize("sign", [-1, 1], ids=["LPS", "RAS"])
def test_a_png_and_plain_axes_of_nibabel_are_laid_by_index_on_a_flat_picture(tmp_path, flat, sign, spacing):
    written(sitk.GetImageFromArray(FLAT[0]), tmp_path / "mask.png")
    nib.save(nib.Nifti1Image(FLAT.T, np.diag([sign * spacing, sign * spacing, 1, 1])), tmp_path / "label.nii.gz")
    for name in ("mask.png", "label.nii.gz"):
        assert np.array_equal(read_label(tmp_path / name, flat), FLAT)


@pytest.mark.parametrize("how", another_size)
def test_a_label_that_is_mirrored_or_of_another_size_is_refused_for_a_flat_picture(tmp_path, flat, how):
    image = another_size[how](flat.grid.image(FLAT))
    path = written(image, tmp_path / ("mask.png" if how.endswith("PNG") else "label.nrrd"))
    check_refused(path, flat, NOT_ITS_PLACE)


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nrrd"])
@pytest.mark.parametrize("how", part_or_more)
def test_the_voxels_of_a_label_land_where_they_lie_in_a_volume(tmp_path, placed, how, name):
    picture, label = placed
    path = written(part_or_more[how](label), tmp_path / name)
    laid = read_label(path, picture)
    assert np.array_equal(laid, put_in_place(part_or_more[how](label), label))
    assert np.array_equal(laid, sitk.GetArrayFromImage(label)) and laid.dtype.kind == "u"
    assert np.array_equal(read_mask(path, picture), picture.pixels == 220)


@pytest.mark.parametrize("how", misplaced)
def test_a_label_of_another_place_is_refused_for_a_volume(tmp_path, placed, how):
    check_refused(written(misplaced[how](placed[1]), tmp_path / "label.nrrd"), placed[0], NOT_ITS_PLACE)


def test_a_label_of_a_volume_that_was_opened_centred_is_laid_by_index(tmp_path, placed):
    path = written(centred(placed[1]), tmp_path / "label.nii.gz")
    assert np.array_equal(read_label(path, placed[0]), sitk.GetArrayFromImage(placed[1]))


def test_the_single_precision_of_nifti_does_not_part_a_label_from_a_large_volume(tmp_path):
    values = np.zeros((3, 512, 512), np.uint8)
    values[0, 0, 0], values[2, 511, 511], values[1, 3:9, 400:] = 1, 2, 3
    image = regridded(image_of(values, "LPS", 11.3, -6.1, 27.9), (-187.313, 211.927, -1032.75))
    image.SetSpacing((0.7031, 0.7031, 5.0))
    picture = read_picture(written(image, tmp_path / "volume.nrrd"))
    path = written(sitk.DICOMOrient(image, "SRA"), tmp_path / "label.nii.gz")
    assert np.array_equal(read_label(path, picture), values)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.float32, np.float64])
@pytest.mark.parametrize("name", ["label.nii.gz", "label.nrrd"])
def test_whole_numbers_of_any_type_are_kept_and_all_above_zero_are_mask(tmp_path, dtype, name):
    picture = flat_picture(tmp_path / "chest.png")
    for background, foreground in [(0, 0), (0, 1), (0, 255), (3, 12)]:
        label = np.where(FLAT > 0, foreground, background)
        path = written(picture.grid.image(label.astype(dtype)), tmp_path / name)
        laid = read_label(path, picture)
        assert laid.dtype == np.uint8 and np.array_equal(laid, label)
        assert np.array_equal(read_mask(path, picture), label > 0)


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nrrd"])
@pytest.mark.parametrize(("value", "error"), [(0.5, DataError), (-1, DataError), (np.nan, PictureError)])
def test_fractions_negative_values_and_nan_are_no_labels(tmp_path, name, value, error):
    picture = flat_picture(tmp_path / "chest.png")
    path = written(picture.grid.image(np.where(FLAT == 2, value, FLAT)), tmp_path / name)
    check_refused(path, picture, r"(no labels: whole numbers.*anew|no numbers.*anew)\.", error)


@pytest.mark.parametrize("name", ["label.nii.gz", "label.nii", "label.nrrd", "mask.png"])
def test_a_label_that_cannot_be_read_is_refused_by_name(tmp_path, name):
    picture, noise = flat_picture(tmp_path / "chest.png"), np.random.default_rng(0).integers(0, 9, (12, 17))
    path = written(sitk.GetImageFromArray(noise.astype(np.uint8)), tmp_path / name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    check_refused(path, picture, r"cannot be read: it is damaged", PictureError)
    path.write_bytes(b"")
    check_refused(path, picture, r"is empty.*again\.", PictureError)
    check_refused(path.rename(tmp_path / "label.txt"), picture, r"cannot be a label\. Save it as .*\.nrrd", DataError)
    check_refused(path, picture, "check the name", PictureNotFound)


@pytest.mark.parametrize(("orientation", "shown"), [("LF", FLAT), ("RF", FLAT[..., ::-1]), ("LH", FLAT[:, ::-1])])
def test_a_mask_on_the_stored_grid_is_shown_turned_together_with_its_radiograph(tmp_path, orientation, shown):
    picture = flat_picture(tmp_path / "chest.dcm", PatientOrientation=list(orientation))
    mask = read_mask(written(picture.grid.image(FLAT), tmp_path / "label.nrrd"), picture)
    assert np.array_equal(mask, shown > 0) and np.array_equal(mask, picture.pixels == 220 * 16)


turns = st.tuples(*[st.integers(-8, 8)] * 3)
part = st.tuples(*(st.tuples(st.integers(0, size - 1), st.integers(1, size)) for size in (9, 7, 5)))


@given(st.sampled_from(ORIENTATIONS), st.sampled_from(ORIENTATIONS), turns, part, st.sampled_from(["nrrd", "nii"]))
@settings(max_examples=50)
def test_any_part_of_a_turned_label_is_laid_where_it_lies(code, label_code, angles, part, suffix):
    image = image_of(VOLUME, code, *angles)
    standard = sitk.DICOMOrient(image, "LPS")
    label = sitk.DICOMOrient(standard[tuple(slice(low, max(low + 1, high)) for low, high in part)], label_code)
    with tempfile.TemporaryDirectory() as folder:
        picture = read_picture(written(image, Path(folder) / "volume.nrrd"))
        laid = read_label(written(label, Path(folder) / f"label.{suffix}"), picture)
    assert np.array_equal(laid, put_in_place(label, image))
