"""Sides and grids: the patient's right is shown left, and a mask goes back to the very voxels it came from."""

import itertools
import math
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from textseg.errors import OptionError
from textseg.imaging.grid import Grid, View
from textseg.imaging.labels import read_mask
from textseg.imaging.picture import Picture
from textseg.imaging.preprocess import mask_to_network, to_display, to_network
from textseg.imaging.read import read_picture
from textseg.imaging.window import Ramp
from textseg.imaging.write import MASK_SUFFIXES, MASK_TYPES, write_mask, write_overlay

AXES = itertools.permutations(("RL", "AP", "SI"))
ORIENTATIONS = ["".join(code) for axes in AXES for code in itertools.product(*axes)]
SIZES = {"volume": (17, 14, 6), "axial": (17, 14, 1), "coronal": (17, 1, 14)}  # voxels towards left, back, head
BACKGROUND, MARK = 20, 220


def turned(angles: tuple[float, float, float]) -> list[float]:
    """Direction cosines of a rotation by three small angles (degrees) about the patient's axes."""
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(*(math.radians(angle) for angle in angles))
    return rotation.GetMatrix()


def drawn_file(folder: Path, kind: str, side: str, code: str, angles: tuple[float, float, float]) -> Path:
    """A NIfTI file stored as `code` and turned by `angles`, marked near the head or front on one patient side."""
    size = SIZES[kind]
    values = np.full(size[::-1], BACKGROUND, np.uint8)  # head, back, left
    columns = slice(1, 5) if side == "right" else slice(12, 16)
    rows = slice(1, 4)
    values[(slice(-4, -1), slice(None), columns) if kind == "coronal" else (slice(0, 2), rows, columns)] = MARK
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.9, 2.5))
    image.SetOrigin((-31.5, 12.25, 40.0))
    image.SetDirection(turned(angles))
    path = folder / "drawn.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(image, code), str(path))
    return path


def geometry(image: sitk.Image) -> tuple:
    return image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()


def png(path: Path, height: int = 30, width: int = 44) -> Path:
    Image.fromarray(np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)).save(path)
    return path


small = st.floats(-8, 8)
drawings = st.tuples(
    st.sampled_from(sorted(SIZES)),
    st.sampled_from(["left", "right"]),
    st.sampled_from(ORIENTATIONS),
    st.tuples(small, small, small),
)


@given(drawings)
@settings(max_examples=150)
@example(("volume", "right", "LPS", (0, 0, 0)))
@example(("coronal", "left", "RAS", (0, 0, 0)))
@example(("axial", "left", "SAR", (15, 0, 0)))
def test_the_patients_right_is_shown_on_the_left_and_goes_back_to_its_voxels(drawing):
    kind, side, code, angles = drawing
    with tempfile.TemporaryDirectory() as folder:
        path = drawn_file(Path(folder), kind, side, code, angles)
        picture, source = read_picture(path), sitk.ReadImage(str(path))
    shown = picture.slices > 0.5
    width = shown.shape[2]
    halves = {"right": shown[..., : width // 2], "left": shown[..., width // 2 :]}
    assert {half for half, part in halves.items() if part.any()} == {side}
    assert np.nonzero(shown)[1].mean() < shown.shape[1] / 3  # front, or head in a frontal view, is at the top
    assert len(shown) == (6 if kind == "volume" else 1)
    back = picture.on_grid(shown.astype(np.uint8))
    assert geometry(back) == geometry(source)
    assert np.array_equal(sitk.GetArrayFromImage(back), sitk.GetArrayFromImage(source) == MARK)


@pytest.mark.parametrize("code", ["PIR", "PIL", "RPI", "LAS", "ASR"])
def test_a_sagittal_slice_is_shown_upright_without_sides(tmp_path, code):
    values = np.full((14, 17, 1), BACKGROUND, np.uint8)  # head, back, left
    values[-4:, :4] = MARK  # high and in front
    sitk.WriteImage(sitk.DICOMOrient(sitk.GetImageFromArray(values), code), str(tmp_path / "side.nii.gz"))
    picture = read_picture(tmp_path / "side.nii.gz")
    assert not picture.sides_known and "sagittal" in picture.warnings[0]
    assert picture.slices.shape == (1, 14, 17)
    assert (picture.slices[0, :4, :4] > 0.5).all() and (picture.slices[0] > 0.5).sum() == 16


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
@pytest.mark.parametrize(("code", "angles"), [("LPS", (0, 0, 0)), ("RAS", (5, -7, 3)), ("SRP", (-9, 2, 6))])
def test_a_written_mask_lies_on_its_source_for_itk_and_for_nibabel(tmp_path, suffix, code, angles):
    path = drawn_file(tmp_path, "volume", "left", code, angles)
    picture, source = read_picture(path), sitk.ReadImage(str(path))
    write_mask(picture, picture.slices > 0.5, tmp_path / f"mask{suffix}")
    mask = sitk.ReadImage(str(tmp_path / f"mask{suffix}"))
    assert mask.GetSize() == source.GetSize() and mask.GetPixelID() == sitk.sitkUInt8
    for stored, wanted in zip(geometry(mask)[1:], geometry(source)[1:], strict=True):
        assert stored == pytest.approx(wanted, abs=1e-5)
    assert np.array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(source) == MARK)
    if suffix.startswith(".nii"):
        first, second = nib.load(tmp_path / f"mask{suffix}"), nib.load(path)
        assert np.allclose(first.affine, second.affine, atol=1e-4)
        assert np.array_equal(np.asarray(first.dataobj), np.asarray(second.dataobj) == MARK)


@pytest.mark.parametrize(("height", "width"), [(30, 44), (44, 30), (7, 90)])
def test_the_mask_of_a_flat_picture_has_one_slice_and_plain_axes(tmp_path, height, width):
    picture = read_picture(png(tmp_path / "chest.png", height, width))
    masks = np.zeros((1, height, width), bool)
    masks[0, 1, 4:6] = True
    write_mask(picture, masks, tmp_path / "mask.nrrd")
    mask = sitk.ReadImage(str(tmp_path / "mask.nrrd"))
    assert geometry(mask) == ((width, height, 1), (1, 1, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    assert [mask[x, 1, 0] for x in range(3, 7)] == [0, 1, 1, 0] and sitk.GetArrayFromImage(mask).sum() == 2


@pytest.mark.parametrize("dtype", MASK_TYPES)
def test_the_number_type_of_a_mask_can_be_chosen(tmp_path, dtype):
    picture = read_picture(png(tmp_path / "chest.png"))
    write_mask(picture, np.ones((1, 30, 44), np.uint8), tmp_path / "mask.nrrd", dtype)
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "mask.nrrd")))
    assert stored.dtype == np.dtype(dtype) and (stored == 1).all()


def test_other_suffixes_and_number_types_are_refused(tmp_path):
    picture, masks = read_picture(png(tmp_path / "chest.png")), np.ones((1, 30, 44), np.uint8)
    with pytest.raises(OptionError, match=r"\.nrrd, \.nii\.gz.*'mask\.png'"):
        write_mask(picture, masks, tmp_path / "mask.png")
    with pytest.raises(OptionError, match=r"uint8, uint16.*'complex64'"):
        write_mask(picture, masks, tmp_path / "mask.nrrd", dtype="complex64")
    assert [path.name for path in tmp_path.iterdir()] == ["chest.png"]


def test_masks_are_true_where_the_file_is_above_zero(tmp_path):
    stored = np.zeros((30, 44), np.uint8)
    stored[3, 4:7] = 1, 128, 255
    Image.fromarray(stored).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", read_picture(png(tmp_path / "chest.png")))
    assert mask.dtype == bool and np.array_equal(mask[0], stored > 0)


@pytest.mark.parametrize("name", ["overlay.png", "overlay"])
def test_an_overlay_tints_only_the_mask_of_the_slice_that_has_most(tmp_path, name):
    slices = np.full((3, 30, 44), 0.5, np.float32)
    slices[1] = 0.25
    masks = np.zeros((3, 30, 44), np.uint8)
    masks[0, 0, 0], masks[1, 5:12, 8:20] = 1, 1
    grid = Grid.of(sitk.Image(44, 30, 3, sitk.sitkUInt8))
    picture = Picture(slices, Ramp(0, 1), grid, View("LPS", "LPS"), "ct")
    write_overlay(picture, masks, tmp_path / name)
    written = Image.open(tmp_path / name)
    assert (written.format, written.mode, written.size) == ("PNG", "RGB", (44, 30))
    colours = np.asarray(written).astype(int)
    coloured = colours.max(-1) > colours.min(-1)
    assert np.array_equal(coloured, masks[1] > 0)
    assert (colours[~coloured] == 63).all() and (colours[..., 0] >= colours[..., 1])[coloured].all()


@pytest.mark.parametrize("shape", [(1, 30, 44), (3, 100, 60), (2, 32, 32)])
def test_a_network_gets_a_square_of_three_equal_channels_in_0_to_1(shape):
    slices = np.random.default_rng(0).random(shape, np.float32)
    square = to_network(slices, 32)
    assert square.shape == (shape[0], 3, 32, 32) and square.dtype == torch.float32
    assert square.min() >= 0 and square.max() <= 1
    assert torch.equal(square[:, 0], square[:, 1]) and torch.equal(square[:, 0], square[:, 2])
    assert square.mean().item() == pytest.approx(slices.mean(), abs=0.02)


def test_pictures_of_the_networks_own_size_are_not_changed():
    slices = np.random.default_rng(0).random((2, 32, 32), np.float32)
    masks = slices > 0.5
    assert np.array_equal(to_network(slices, 32)[:, 0].numpy(), slices)
    assert np.array_equal(mask_to_network(masks, 32)[:, 0].numpy() > 0, masks)
    assert np.array_equal(to_display(to_network(slices, 32)[:, :1], 32, 32), slices)


def test_a_shrunk_or_grown_mask_is_widened_by_at_most_a_pixel():
    masks = np.zeros((1, 64, 64), bool)
    masks[0, 20:37, 10:45] = True
    small, large = (mask_to_network(masks, size)[0, 0].numpy() for size in (32, 128))
    assert set(np.unique(small)) == set(np.unique(large)) == {0, 1}
    assert small[10:18, 5:22].all() and small.sum() <= 11 * 20 and small.sum() > 9 * 18
    assert large[40:74, 20:90].all() and 34 * 70 < large.sum() <= 36 * 72


def test_probabilities_come_back_in_the_pictures_height_and_width():
    probabilities = torch.zeros(2, 1, 32, 32)
    probabilities[1, :, :16, 16:] = 1  # upper right quarter
    shown = to_display(probabilities, 30, 44)
    assert shown.shape == (2, 30, 44) and shown.dtype == np.float32
    assert shown[0].max() == 0 and shown[1, :13, 24:].min() > 0.99 and shown[1, 17:].max() < 0.01
