"""The mask lies on the picture, for real files of every kind and a DICOM series; bad pictures are refused by name."""

import functools
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
import SimpleITK as sitk

from harness import Server, assert_refused, assert_same_grid, three_dimensional
from textseg.data.dicom_files import drawn_dicom, write_ct_series
from textseg.imaging.kinds import stem_of
from textseg.registry import DEFAULT_MODEL

DICOM_CT = ("ct_chest_lidc_slice.dcm", "ct_chest_notags_0.dcm", "ct_chest_notags_1.dcm")
DICOM_CR = ("cr_chest_ap_jpeg8.dcm", "cr_chest_monochrome1_j2k.dcm", "cr_chest_pa_jpeg8.dcm")
CT_VOLUME = "case6_ct.nii.gz"
FLAT = (
    "pneumococcal-pneumonia-day0.jpg",  # the largest, 2828 x 2320
    "covid-19-pneumonia-14-PA.png",  # the largest PNG, RGBA
    "acute-respiratory-distress-syndrome-ards-1.jpg",
    "SARS-10.1148rg.242035193-g04mr34g04a-Fig4a-day7.jpeg",  # grey
    "CD50BA96-6982-4C80-AE7B-5F67ACDBFA56.jpeg",
    "31BA3780-2323-493F-8AED-62081B9C383B.jpeg",  # square
    "radiol.2020200490.fig3.jpeg",  # higher than wide, with coloured marks
    "legionella-pneumonia-1.png",  # RGB
    "pneumocystis-pneumonia-2-PA.png",  # RGBA
    "kjr-21-e25-g001-l-a.jpg",  # grey
    "kjr-21-e24-g002-l-a.jpg",
    "41591_2020_819_Fig1_HTML.webp-day5.png",  # the smallest, 256 x 247, RGBA
)
PICTURES = (*FLAT, *DICOM_CR, *DICOM_CT, CT_VOLUME)
SERIES = "ct_golf"
RAS_OF_LPS = np.diag([-1.0, -1.0, 1.0])
GREY = np.linspace(0, 255, 40 * 56).reshape(40, 56).astype(np.uint8)
Inferred = Callable[..., tuple[Path, dict[str, Any]]]


def infer_file(server: Server, folder: Path, image: str, **params: Any) -> tuple[Path, dict[str, Any]]:
    """The mask as the file that a client saves, and the reply."""
    file, reply = server.client(folder).infer(DEFAULT_MODEL, image, params)
    return Path(file), reply


def affine_of(image: sitk.Image) -> np.ndarray:
    """Voxel to RAS, as nibabel has it, from ITK's geometry (LPS)."""
    affine = np.eye(4)
    affine[:3, :3] = RAS_OF_LPS @ np.array(image.GetDirection()).reshape(3, 3) @ np.diag(image.GetSpacing())
    affine[:3, 3] = RAS_OF_LPS @ np.array(image.GetOrigin())
    return affine


@pytest.fixture(scope="module")
def real(server: Server, shared: Path) -> Server:
    """The server with real pictures in its studies: DICOM radiographs and CT slices, a CT volume, flat pictures."""
    data = shared / "data"
    folders = {DICOM_CR: data / "dicom", DICOM_CT: data / "dicom", FLAT: data / "cxr_gb100" / "images"}
    for names, folder in {**folders, (CT_VOLUME,): data / "mosmedplus_ct" / "volume"}.items():
        for name in names:
            shutil.copy(folder / name, server.studies)
    return server


@pytest.fixture(scope="module")
def mask_of(real: Server, tmp_path_factory: pytest.TempPathFactory) -> Inferred:
    """mask_of(name, suffix) -> (mask file, reply); the same is inferred once."""
    folder = tmp_path_factory.mktemp("masks")
    return functools.cache(lambda name, suffix: infer_file(real, folder, stem_of(Path(name)), result_extension=suffix))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
@pytest.mark.parametrize("name", PICTURES)
def test_the_mask_lies_on_the_picture(real: Server, mask_of: Inferred, name: str, suffix: str) -> None:
    mask = sitk.ReadImage(str(mask_of(name, suffix)[0]))
    assert_same_grid(mask, three_dimensional(sitk.ReadImage(str(real.studies / name))))
    assert set(np.unique(sitk.GetArrayFromImage(mask))) <= {0, 1}


@pytest.mark.parametrize("name", PICTURES)
def test_nibabel_finds_the_mask_where_the_picture_is(real: Server, mask_of: Inferred, name: str) -> None:
    mask, source = nib.load(mask_of(name, ".nii.gz")[0]), three_dimensional(sitk.ReadImage(str(real.studies / name)))
    affine = nib.load(real.studies / name).affine if name == CT_VOLUME else affine_of(source)
    assert mask.shape == source.GetSize()
    assert mask.affine == pytest.approx(affine, abs=1e-4)


@pytest.mark.parametrize("name", PICTURES)
def test_the_reply_warns_of_a_ct_and_only_of_a_ct(mask_of: Inferred, name: str) -> None:
    warned = any("never seen CT" in warning for warning in mask_of(name, ".nii.gz")[1]["warnings"])
    assert warned == (name in (*DICOM_CT, CT_VOLUME))


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_the_mask_has_the_number_type_asked_for(server: Server, tmp_path: Path, suffix: str, dtype: str) -> None:
    file, _ = infer_file(server, tmp_path, "xray_alpha", result_extension=suffix, result_dtype=dtype)
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    assert values.dtype == dtype
    assert set(np.unique(values)) == {0, 1}


def test_a_compressed_mask_is_the_same_and_smaller(server: Server, tmp_path: Path) -> None:
    small, large = (
        infer_file(server, tmp_path, "xray_alpha", result_extension=".nrrd", result_compress=compress)[0]
        for compress in (True, False)
    )
    assert small.stat().st_size < large.stat().st_size
    assert np.array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(str(file))) for file in (small, large)))


def test_a_series_is_listed_as_one_picture(server: Server, tmp_path: Path) -> None:
    listed = server.client(tmp_path).datastore()["objects"]
    assert SERIES in listed
    assert not any("slice_" in image for image in listed)
    assert server.client(tmp_path).info()["datastore"]["total"] == len(listed)


@pytest.fixture(scope="module")
def series_as(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Inferred:
    """series_as(modality) -> (mask file, reply); the same is inferred once."""
    folder = tmp_path_factory.mktemp("series")
    return functools.cache(lambda modality: infer_file(server, folder, SERIES, modality=modality))


def test_the_mask_of_a_series_lies_on_the_delivered_volume(server: Server, tmp_path: Path, series_as: Inferred) -> None:
    delivered = tmp_path / "delivered.nrrd"
    delivered.write_bytes(requests.get(f"{server.url}/datastore/image", params={"image": SERIES}).content)
    file, reply = series_as("auto")
    assert_same_grid(sitk.ReadImage(str(file)), sitk.ReadImage(str(delivered)))
    assert any("only the sides" in warning for warning in reply["warnings"])


@pytest.mark.parametrize(("modality", "unseen"), [("xray", False), ("ct", True), ("auto", True)])
def test_a_series_is_taken_for_the_modality_asked_for(series_as: Inferred, modality: str, unseen: bool) -> None:
    reply = series_as(modality)[1]
    assert any("never seen CT" in warning for warning in reply["warnings"]) == unseen
    assert ("CT unseen" in next(iter(reply["label_names"]))) == unseen


def test_an_unknown_modality_is_refused_with_the_known_ones(server: Server) -> None:
    answer = server.post(SERIES, '{"modality": "mri"}')
    assert answer.status_code == 422
    assert "modality is one of auto, xray, ct" in answer.json()["detail"]
    assert "mri" in answer.json()["detail"]


def write_nrrd(path: Path, directions: str) -> None:
    """A volume of 8 x 8 x 2 zeros with these space directions."""
    head = "NRRD0004\ntype: uint8\ndimension: 3\nspace: left-posterior-superior\nsizes: 8 8 2\nencoding: raw\n"
    path.write_bytes(f"{head}space directions: {directions}\nspace origin: (0,0,0)\n\n".encode() + bytes(128))


def write_png_header(path: Path, side: int, bits: int, colour: int) -> None:
    """A PNG that says to be `side` x `side`, with next to no pixels. colour: PNG's colour type, 6 is RGBA."""
    header = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    parts = [b"IHDR" + header, b"IDAT" + zlib.compress(b"\0"), b"IEND"]
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def write_bad_dicom(folder: Path) -> None:
    """Cut in half, without pixels, a colour ultrasound, two frames; a folder with two series, one with a gap."""
    whole = (folder / "xray_delta.dcm").read_bytes()
    (folder / "bad_half.dcm").write_bytes(whole[: len(whole) // 2])
    empty = drawn_dicom(GREY, "empty", "CR", "empty", 8)
    del empty.PixelData
    colour = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}
    red = np.stack([GREY, GREY // 2, GREY // 2], -1).tobytes()
    ultrasound = drawn_dicom(GREY, "ultrasound", "US", "ultrasound", 8, **colour, PixelData=red)
    frames = drawn_dicom(GREY, "frames", "CR", "frames", 8, NumberOfFrames=2, PixelData=GREY.tobytes() * 2)
    for name, data in (("empty", empty), ("ultrasound", ultrasound), ("frames", frames)):
        data.save_as(str(folder / f"bad_{name}.dcm"), write_like_original=False)
    values = np.zeros((5, 16, 16), np.int16)
    write_ct_series(folder / "bad_two", values, (1.0, 1.0, 2.0), "one")
    drawn_dicom(GREY, "stray", "CR", "stray", 8).save_as(str(folder / "bad_two" / "s.dcm"), write_like_original=False)
    write_ct_series(folder / "bad_gap", values, (1.0, 1.0, 2.0), "gap")
    (folder / "bad_gap" / "slice_002.dcm").unlink()


@pytest.fixture(scope="module")
def bad(server: Server) -> Server:
    """The server with small pictures in its studies, each with one fault."""
    folder = server.studies
    write_bad_dicom(folder)
    hollow = np.zeros((8, 8, 2), np.float32)
    nib.save(nib.Nifti1Image(np.stack([hollow, hollow], -1), np.eye(4)), folder / "bad_cine.nii.gz")
    hollow[3, 4, 1] = np.nan
    nib.save(nib.Nifti1Image(hollow, np.eye(4)), folder / "bad_nan.nii.gz")
    write_nrrd(folder / "bad_spacing.nrrd", "(1,0,0) (0,0,0) (0,0,1)")
    write_nrrd(folder / "bad_direction.nrrd", "(1,0,0) (1,0,0) (0,0,1)")
    write_png_header(folder / "bad_wide.png", 20_000, 8, 0)
    write_png_header(folder / "bad_deep.png", 16_000, 16, 6)
    return server


@pytest.mark.parametrize(
    ("image", "said", "remedy"),
    [
        ("bad_half", "bad_half.dcm is cut off", "Copy or export it again"),
        ("bad_empty", "bad_empty.dcm holds no pixels", "Give the image itself"),
        ("bad_ultrasound", "bad_ultrasound.dcm is DICOM of modality US", "CR, DX and CT are supported"),
        ("bad_frames", "bad_frames.dcm holds 2 frames", "Export each as a file"),
        ("bad_cine", "bad_cine.nii.gz has 4 dimensions", "a slice or a volume is supported"),
        ("bad_nan", "bad_nan.nii.gz holds values that are no numbers", "Export it anew"),
        ("bad_spacing", "bad_spacing.nrrd has a voxel spacing of zero", "Export it anew"),
        ("bad_direction", "bad_direction.nrrd has a direction matrix that is singular", "Export it anew"),
        ("bad_wide", "bad_wide.png has 20000 x 20000 pixels", "Make it smaller"),
        ("bad_deep", "bad_deep.png has 16000 x 16000 pixels of 8 bytes", "Make it smaller"),
        ("bad_two", "bad_two holds 2 DICOM series", "Put each into a folder of its own"),
        ("bad_gap", "bad_gap: slices are missing", "between slice_001.dcm and slice_003.dcm"),
    ],
)
def test_a_bad_picture_is_refused_with_its_name_and_fault(bad: Server, image: str, said: str, remedy: str) -> None:
    assert_refused(bad, image, {}, said, remedy)


def test_a_good_picture_is_segmented_after_all_the_bad_ones(bad: Server, tmp_path: Path) -> None:
    mask, _ = bad.infer(tmp_path, "xray_delta")
    assert mask.GetSize() == (768, 768, 1)
