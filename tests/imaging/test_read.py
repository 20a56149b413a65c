"""Reading pictures: every supported kind with the right brightness and sides, everything else refused by name."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from textseg.errors import OptionError, PictureError, PictureNotFound
from textseg.imaging.read import read_picture

HEIGHT, WIDTH = 40, 56
GREY = np.linspace(0, 255, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).round().astype(np.uint8)
SHOWN = GREY / 255
CR_FILES = ("cr_chest_pa_jpeg8.dcm", "cr_chest_ap_jpeg8.dcm", "cr_chest_monochrome1_j2k.dcm")


def write_dicom(
    path: Path, pixels: np.ndarray, bits: int, photometric: str = "MONOCHROME2", modality: str = "CR", rows: str = "L"
) -> Path:
    """A minimal uncompressed DICOM file with `bits` bits stored."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.is_little_endian, data.is_implicit_VR = True, False
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
    data.Modality, data.PatientOrientation = modality, [rows, "F"]
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, photometric, 0
    data.BitsAllocated, data.BitsStored, data.HighBit = pixels.itemsize * 8, bits, bits - 1
    data.PixelData = pixels.tobytes()
    data.save_as(str(path), write_like_original=False)
    return path


def write_nifti(path: Path, values: np.ndarray) -> Path:
    """`values` (slices x rows x columns) with an identity direction."""
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header claims a size that its few bytes do not hold."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def nifti_claiming(width: int, height: int) -> bytes:
    """A NIfTI header (348 bytes) of 8-bit pixels, and no pixels."""
    header = bytearray(352)
    header[0:4], header[344:348] = struct.pack("<i", 348), b"n+1\0"
    header[40:56] = struct.pack("<8h", 3, width, height, 1, 1, 1, 1, 1)
    header[70:74], header[76:92] = struct.pack("<2h", 2, 8), struct.pack("<4f", 1, 1, 1, 1)
    header[108:112] = struct.pack("<f", 352)
    return bytes(header)


def webp_claiming(width: int, height: int) -> bytes:
    """A lossless WebP whose header claims a size that its few bytes do not hold."""
    body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + b"\0" * 51
    content = b"WEBPVP8L" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(content)) + content


def check_shown(picture, expected: np.ndarray, tolerance: float) -> None:
    """One displayed X-ray slice of float32 in 0..1 that looks as expected."""
    assert picture.slices.shape == (1, *expected.shape) and picture.slices.dtype == np.float32
    assert picture.slices.min() >= 0 and picture.slices.max() <= 1
    assert np.abs(picture.slices[0] - expected).max() <= tolerance
    assert (picture.modality, picture.sides_known, picture.warnings) == ("xray", True, ())


@pytest.mark.parametrize("suffix", ["png", "webp"])
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_grey_pictures_are_shown_as_they_are_whatever_their_channels(tmp_path, mode, suffix):
    path = tmp_path / f"chest.{suffix}"
    Image.fromarray(GREY).convert(mode).save(path, lossless=True)
    check_shown(read_picture(path), SHOWN, 1e-6)


def test_png_with_a_palette(tmp_path):
    flat = Image.fromarray(GREY).quantize(16)
    flat.save(tmp_path / "chest.png")
    check_shown(read_picture(tmp_path / "chest.png"), np.asarray(flat.convert("L")) / 255, 1e-6)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "webp", "JPG"])
def test_lossy_kinds_look_as_they_did(tmp_path, suffix):
    path = tmp_path / f"chest.{suffix}"
    Image.fromarray(GREY).save(path, quality=95)
    check_shown(read_picture(path), SHOWN, 0.06)


def test_deep_pictures_use_the_whole_range_of_grey(tmp_path):
    deep = GREY.astype(np.uint16) * 5 + 900  # a range far from 0..65535
    Image.fromarray(deep).save(tmp_path / "deep.png")
    check_shown(read_picture(tmp_path / "deep.png"), SHOWN, 0.01)


def test_one_white_pixel_does_not_darken_a_deep_picture(tmp_path):
    deep = GREY.astype(np.uint16) * 5 + 900
    deep[-1, -1] = 65535
    Image.fromarray(deep).save(tmp_path / "deep.png")
    check_shown(read_picture(tmp_path / "deep.png"), SHOWN, 0.01)


def test_nifti_slice(tmp_path):
    check_shown(read_picture(write_nifti(tmp_path / "chest.nii.gz", GREY[None])), SHOWN, 1e-6)


def test_nifti_volume_is_ct_in_the_lung_window(tmp_path):
    values = np.full((3, HEIGHT, WIDTH), -1000, np.int16)
    values[0, 0, :3] = -1350, -600, 150
    picture = read_picture(write_nifti(tmp_path / "ct.nii", values))
    assert (picture.slices.shape, picture.modality) == ((3, HEIGHT, WIDTH), "ct")
    assert picture.slices[0, 0, :3] == pytest.approx([0, 0.5, 1])


def test_modality_can_be_overridden(tmp_path):
    values = np.linspace(-1000, 1000, 3 * HEIGHT * WIDTH).reshape(3, HEIGHT, WIDTH).astype(np.int16)
    path = write_nifti(tmp_path / "ct.nii", values)
    ct, xray = read_picture(path), read_picture(path, "xray")
    assert (ct.modality, xray.modality) == ("ct", "xray")
    assert (ct.slices == 1).mean() > 0.4 and (xray.slices == 1).mean() < 0.02
    with pytest.raises(OptionError, match=r"auto, xray, ct.*'mri'"):
        read_picture(path, "mri")


@pytest.mark.parametrize(("bits", "scale", "tolerance"), [(8, 1, 1e-6), (12, 16, 0.01)])
def test_dicom_radiograph(tmp_path, bits, scale, tolerance):
    pixels = GREY if bits == 8 else GREY.astype(np.uint16) * scale
    check_shown(read_picture(write_dicom(tmp_path / "chest.dcm", pixels, bits)), SHOWN, tolerance)


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (12, 16)])
def test_monochrome1_is_shown_with_bright_bones(tmp_path, bits, scale):
    pixels = GREY if bits == 8 else GREY.astype(np.uint16) * scale
    picture = read_picture(write_dicom(tmp_path / "chest.dcm", pixels, bits, "MONOCHROME1", "DX"))
    check_shown(picture, 1 - SHOWN, 0.01)


@pytest.mark.parametrize("name", CR_FILES)
def test_real_radiographs_have_dark_lungs(shared, name):
    shown = read_picture(shared / "data" / "dicom" / name).slices[0]
    height, width = shown.shape
    heart_level = shown[int(0.3 * height) : int(0.55 * height)]
    lung, mediastinum = (heart_level[:, int(a * width) : int(b * width)] for a, b in ((0.2, 0.4), (0.45, 0.55)))
    assert np.median(lung) + 0.1 < np.median(mediastinum)


def test_colour_is_read_as_brightness_with_a_warning(tmp_path):
    colour = np.repeat(GREY[..., None], 3, axis=2)
    colour[:4, :10] = 255, 0, 0
    Image.fromarray(colour).save(tmp_path / "marked.png")
    picture = read_picture(tmp_path / "marked.png")
    assert "marked.png is in colour, or has coloured marks" in picture.warnings[0]
    assert picture.slices[0, 0, 0] == pytest.approx(0.299, abs=0.01)
    assert np.abs(picture.slices[0, 4:] - SHOWN[4:]).max() < 0.01


def test_absent_and_empty_files_and_folders_are_refused(tmp_path):
    with pytest.raises(PictureNotFound, match=r"no picture gone\.png.*check the name"):
        read_picture(tmp_path / "gone.png")
    (tmp_path / "nothing.png").touch()
    with pytest.raises(PictureError, match=r"nothing\.png is empty.*again"):
        read_picture(tmp_path / "nothing.png")
    (tmp_path / "series.dcm").mkdir()
    with pytest.raises(PictureError, match=r"series\.dcm is a folder without DICOM files"):
        read_picture(tmp_path / "series.dcm")


@pytest.mark.parametrize("name", ["chest.png", "chest.jpg", "chest.webp", "chest.nii", "chest.nii.gz", "chest.dcm"])
def test_text_under_a_pictures_name_is_refused(tmp_path, name):
    (tmp_path / name).write_text("No pulmonary infection.\n" * 30)
    with pytest.raises(PictureError, match=f"{name} cannot be read: it is damaged"):
        read_picture(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["chest.png", "chest.webp", "deep.nii", "deep.nii.gz", "chest.nii", "chest.nii.gz", "chest.dcm"]
)
def test_half_a_file_is_refused(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH)).astype(np.uint8)
    if path.suffix == ".dcm":
        write_dicom(path, noise, 8)
    elif ".nii" in name:
        write_nifti(path, noise[None].astype(np.float32 if name.startswith("deep") else np.uint8))
    else:
        Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=f"{name} (cannot be read|is cut off)"):
        read_picture(path)


@pytest.mark.parametrize("name", ["chest.tif", "chest.gif", "chest"])
def test_other_kinds_are_refused_with_the_supported_ones_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(PictureError, match=rf"{name} is of a kind that is not supported.*\.png.*\.nii\.gz.*\.dcm"):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("modality", ["MR", "US", "SR"])
def test_dicom_of_another_modality_is_refused_with_its_name_unless_it_is_insisted_on(tmp_path, modality):
    path = write_dicom(tmp_path / "slice.dcm", GREY, 8, modality=modality)
    with pytest.raises(PictureError, match=rf"slice\.dcm is DICOM of modality {modality}; CR.*option modality"):
        read_picture(path)
    assert read_picture(path, "ct").modality == "ct"


def test_four_dimensions_are_refused(tmp_path):
    volumes = [sitk.GetImageFromArray(np.zeros((3, HEIGHT, WIDTH), np.int16))] * 2
    sitk.WriteImage(sitk.JoinSeries(volumes), str(tmp_path / "cine.nii.gz"))
    with pytest.raises(PictureError, match=r"cine\.nii\.gz has 4 dimensions; a slice or a volume"):
        read_picture(tmp_path / "cine.nii.gz")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(tmp_path, value):
    values = np.zeros((2, HEIGHT, WIDTH), np.float32)
    values[1, 2, 3] = value
    with pytest.raises(PictureError, match=r"ct\.nii\.gz holds values that are no numbers.*Export it anew"):
        read_picture(write_nifti(tmp_path / "ct.nii.gz", values))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vast.png", png_claiming(30_000, 30_000)),
        ("vast.nii", nifti_claiming(30_000, 30_000)),
        ("vast.webp", webp_claiming(16_383, 16_383)),
    ],
    ids=["png", "nifti", "webp"],
)
def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PictureError, match=f"{name} has .*pixels.*Make it smaller"):
        read_picture(tmp_path / name)
