"""DICOM files: brightness by the standard's formulas, compression, modality, geometry, sides; bad files are refused."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from textseg.data.dicom_files import drawn_dicom
from textseg.errors import PictureError
from textseg.imaging.read import read_picture

HEIGHT, WIDTH = 40, 56
RAMP = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
NOISE = np.random.default_rng(0).integers(1, 256, (HEIGHT, WIDTH)).astype(np.uint8)
KINDS = {  # of pixels: bits, type, lowest and highest value
    "unsigned 8": (8, np.uint8, 0, 255),
    "unsigned 12": (12, np.uint16, 0, 4095),
    "unsigned 16": (16, np.uint16, 0, 65535),
    "signed 16": (16, np.int16, -3000, 3000),
}
CT, DX, UNSAID = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.7"
RGB = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "PhotometricInterpretation": "RGB"}
RGB["PixelData"] = np.repeat(NOISE[..., None], 3, axis=2).tobytes()
REAL = [f"cr_chest_{name}.dcm" for name in ("ap_jpeg8", "pa_jpeg8", "monochrome1_j2k")]
REAL += [f"ct_chest_{name}.dcm" for name in ("lidc_slice", "notags_0", "notags_1")]
MARK = np.pad(np.ones((6, 15), bool), ((3, 31), (5, 36)))  # HEIGHT x WIDTH, in standard display


def written(path: Path, pixels: np.ndarray, bits: int, modality: str = "CR", packed: str = "", **tags) -> Path:
    """A DICOM file with further tags (None: left out), packed as JPEG, JPEG2000, RLE or not at all."""
    data = drawn_dicom(pixels, path.name, modality, path.name, bits, **tags)
    for keyword in (keyword for keyword, value in tags.items() if value is None):
        del data[keyword]
    if packed == "RLE":
        data.compress(RLELossless)
    elif packed:
        data.PixelData = encapsulate([encoded(pixels, bits, packed)])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if packed == "JPEG" else JPEG2000Lossless
    data.save_as(str(path), write_like_original=False)
    return path


def encoded(pixels: np.ndarray, bits: int, packed: str) -> bytes:
    """JPEG, or lossless JPEG 2000. Pillow writes 8 or 16 bits: 12 go to the middle of 16, and the stream is told so."""
    stream = io.BytesIO()
    moved = pixels + pixels.dtype.type((1 << pixels.itemsize * 8 - 1) - (1 << bits - 1))
    Image.fromarray(moved).save(stream, packed, quality=95, no_jp2=True, irreversible=False)
    data = bytearray(stream.getvalue())
    if packed == "JPEG2000":
        data[data.index(b"\xff\x51") + 40] = bits - 1
    return bytes(data)


def table(low: int, high: int) -> list[Dataset]:
    """A sequence with one look-up table, a square root of 16 bits over the second quarter of a range."""
    item, first, entries = Dataset(), low + (high - low) // 4, (high - low) // 4
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries, first, 16])
    item.add_new("LUTData", "US", [round(65535 * (i / (entries - 1)) ** 0.5) for i in range(entries)])
    return [item]


def looked_up(values: np.ndarray, sequence: list[Dataset]) -> np.ndarray:
    """PS3.3 C.11.1.1 and C.11.2.1.1, for whole values: beyond the table's ends, the entry there."""
    entries = sequence[0].LUTData
    return np.interp(values, sequence[0].LUTDescriptor[1] + np.arange(len(entries)), entries)


def by_the_standard(pixels: np.ndarray, tags: dict) -> np.ndarray:
    """Brightness by PS3.3 C.11.1 and C.11.2; where no window is stored, the 0.5 to the 99.5 percentile."""
    values = pixels.astype(float) * tags.get("RescaleSlope", 1) + tags.get("RescaleIntercept", 0)
    if "ModalityLUTSequence" in tags:
        values = looked_up(values, tags["ModalityLUTSequence"])
    if "VOILUTSequence" in tags:
        shown = looked_up(values, tags["VOILUTSequence"]) / 65535
    elif "WindowCenter" in tags:
        center, w = (np.atleast_1d(tags[name])[0] for name in ("WindowCenter", "WindowWidth"))
        x = values - center
        ways = {"LINEAR": (x + 0.5) / (w - 1), "LINEAR_EXACT": x / w, "SIGMOID": 1 / (1 + np.exp(-4 * x / w)) - 0.5}
        shown = ways[tags.get("VOILUTFunction", "LINEAR")] + 0.5
    else:
        low, high = (0, 255) if pixels.dtype == np.uint8 else np.percentile(values, [0.5, 99.5])
        shown = (values - low) / (high - low)
    inverted = tags.get("PhotometricInterpretation") == "MONOCHROME1"
    return np.clip(1 - shown if inverted else shown, 0, 1)


def window(low: int, high: int, slope: float = 1, intercept: float = 0, function: str = "LINEAR") -> dict:
    """Tags of a window over the middle quarter of the range, in values after the rescale."""
    tags = {"WindowCenter": round((low + high) / 2 * slope + intercept), "WindowWidth": round((high - low) / 4 * slope)}
    return {**tags, "RescaleSlope": slope, "RescaleIntercept": intercept, "VOILUTFunction": function}


WAYS = {  # what the file says of its brightness
    "nothing": lambda low, high: {},
    "linear": window,
    "first of several": lambda low, high: {"WindowCenter": [high // 2, low], "WindowWidth": [high // 4, 2]},
    "exact": lambda low, high: window(low, high, function="LINEAR_EXACT"),
    "sigmoid": lambda low, high: window(low, high, function="SIGMOID"),
    "rescaled": lambda low, high: window(low, high, 2, -1024),
    "fractional": lambda low, high: window(low, high, 0.5, 100.25),
    "fractional sigmoid": lambda low, high: window(low, high, 0.5, 100.25, "SIGMOID"),
    "VOI table": lambda low, high: {"VOILUTSequence": table(low, high), "RescaleSlope": 1, "RescaleIntercept": 9},
    "modality table": lambda *ends: {"ModalityLUTSequence": table(*ends), "WindowCenter": 4e4, "WindowWidth": 3e4},
}
CASES = [(way, kind, "") for way in WAYS for kind in KINDS] + [("linear", kind, "RLE") for kind in KINDS]
CASES += [("linear", kind, "JPEG2000") for kind in KINDS if kind != "signed 16"] + [("linear", "unsigned 8", "JPEG")]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("way", "kind", "packed"), CASES)
def test_radiograph_is_as_bright_as_the_standard_asks(tmp_path, way, kind, packed, photometric):
    bits, dtype, low, high = KINDS[kind]
    pixels = np.round(low + RAMP * (high - low)).astype(dtype)
    tags = {**WAYS[way](low, high), "PhotometricInterpretation": photometric}
    picture = read_picture(written(tmp_path / "chest.dcm", pixels, bits, packed=packed, **tags))
    assert (picture.modality, picture.warnings) == ("xray", ())
    assert (picture.slices.shape, picture.slices.dtype) == ((1, HEIGHT, WIDTH), np.float32)
    assert np.abs(picture.slices[0] - by_the_standard(pixels, tags)).max() < (0.1 if packed == "JPEG" else 1e-3)


@pytest.mark.parametrize("pixels", [NOISE, NOISE * np.uint16(16), NOISE * np.int16(16) - 2000], ids=["8", "12", "-16"])
def test_window_that_shows_almost_nothing_is_not_used(tmp_path, pixels):
    tags = {"WindowCenter": 9000, "WindowWidth": 20}
    picture = read_picture(written(tmp_path / "chest.dcm", pixels, pixels.itemsize * 8, "DX", **tags))
    assert np.abs(picture.slices[0] - by_the_standard(pixels, {})).max() < 1e-3
    assert "window that the file stores shows almost nothing" in picture.warnings[0]


def test_signed_12_bit_monochrome1_is_right_or_refused(tmp_path):
    pixels, tags = NOISE * np.int16(16) - 2000, {"PhotometricInterpretation": "MONOCHROME1"}
    with contextlib.suppress(PictureError):
        picture = read_picture(written(tmp_path / "chest.dcm", pixels, 12, **tags))
        assert np.abs(picture.slices[0] - by_the_standard(pixels, tags)).max() < 1e-3


def test_grey_that_is_stored_as_colour_is_read(tmp_path):
    picture = read_picture(written(tmp_path / "chest.dcm", NOISE, 8, **RGB))
    assert np.abs(picture.slices[0] - NOISE / 255).max() < 1e-6 and picture.warnings == ()


@pytest.mark.parametrize("tags", [{}, window(0, 1600), {"VOILUTSequence": table(0, 99)}], ids=["none", "own", "table"])
def test_ct_slice_is_shown_in_the_lung_window_whatever_window_it_stores(tmp_path, tags):
    values = np.full((HEIGHT, WIDTH), -1000, np.int16)
    values[0, :5] = -2000, -1350, -600, 150, 3000
    tags = {**tags, "RescaleSlope": 1, "RescaleIntercept": -24}
    picture = read_picture(written(tmp_path / "ct.dcm", values + np.int16(24), 16, "CT", **tags))
    assert picture.slices[0, 0, :5] == pytest.approx([0, 0, 0.5, 1, 1]) and picture.warnings == ()


@pytest.mark.parametrize(
    ("says", "hint", "option", "modality"),
    [
        ((None, CT), "xray", "auto", "ct"),
        ((None, DX), "ct", "auto", "xray"),
        (("CR", CT), "ct", "auto", "xray"),
        (("CT", CT), "ct", "xray", "xray"),
        (("DX", DX), "xray", "ct", "ct"),
        ((None, UNSAID), "ct", "auto", "ct"),
        ((None, UNSAID), "", "auto", "xray"),
    ],
)
def test_option_counts_before_dicom_and_dicom_before_the_hint(tmp_path, says, hint, option, modality):
    path = written(tmp_path / "slice.dcm", NOISE, 8, Modality=says[0], SOPClassUID=says[1])
    assert read_picture(path, option, hint).modality == modality


def check_grid(image: sitk.Image, path: Path) -> None:
    """The image lies where SimpleITK puts the file."""
    for values in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(image, values)() == pytest.approx(getattr(sitk.ReadImage(str(path)), values)())


@pytest.mark.parametrize(
    ("modality", "letters", "cosines", "turned"),
    [
        ("CR", "", [], MARK),
        ("CR", "LF", [], MARK),
        ("CR", "RF", [], MARK[:, ::-1]),
        ("CR", "LH", [], MARK[::-1]),
        ("CR", "FL", [], MARK.T),
        ("CR", "RF", [1, 0, 0, 0, 1, 0], MARK[:, ::-1]),  # axial: a filler
        ("CR", "LF", [-1, 0, 0, 0, 0, -1], MARK[:, ::-1]),
        ("DX", "", [1, 0, 0, 0, 0, 1], MARK[::-1]),
        ("CT", "", [1, 0, 0, 0, 0.966, -0.259], MARK),
        ("CT", "", [-1, 0, 0, 0, -1, 0], MARK[::-1, ::-1]),
    ],
)
def test_picture_is_shown_upright_and_its_mask_lies_on_the_stored_pixels(tmp_path, modality, letters, cosines, turned):
    tags = {"PatientOrientation": list(letters), "ImageOrientationPatient": cosines, "ImagePositionPatient": [-9, 8, 7]}
    tags = {keyword: value for keyword, value in tags.items() if value and (cosines or keyword[0] == "P")}
    path = written(tmp_path / "a.dcm", turned * np.uint16(3000), 12, modality, PixelSpacing=[0.6, 0.7], **tags)
    picture = read_picture(path)
    assert np.array_equal(picture.pixels[0] > 0, MARK) and picture.sides_known and picture.warnings == ()
    mask = picture.on_grid((picture.pixels > 0).astype(np.uint8))
    assert np.array_equal(sitk.GetArrayFromImage(mask)[0], turned)
    check_grid(mask, path)


@pytest.mark.parametrize("view", ["A F", "P F", "LL", "RL", "LLO", "left lateral", "AP", "PA", "antero-posterior"])
def test_sides_are_known_in_frontal_views_alone(tmp_path, view):
    code = Dataset()
    code.CodeMeaning = view
    tags = {"ViewCodeSequence": [code]} if view.islower() else {"ViewPosition": view}
    tags = {"PatientOrientation": view.split()} if view[1:] == " F" else tags
    picture = read_picture(written(tmp_path / "chest.dcm", NOISE, 8, **tags))
    assert picture.sides_known == (view in ("AP", "PA", "antero-posterior"))
    assert ["not a frontal view" in warning for warning in picture.warnings] == [True] * (not picture.sides_known)


@pytest.mark.parametrize(
    ("fault", "tags"),
    [
        ("is DICOM of modality US", {"Modality": "US", **RGB}),
        ("is DICOM of modality MR", {"Modality": "MR"}),
        ("holds no pixels", {"PixelData": None}),
        ("holds 3 frames", {"NumberOfFrames": 3, "PixelData": NOISE.tobytes() * 3}),
        ("has 20000 x 20000 pixels", {"Rows": 20000, "Columns": 20000}),
        ("has a pixel spacing that is zero", {"Modality": "CT", "PixelSpacing": [0, 0]}),
        ("direction matrix that is singular", {"Modality": "CT", "ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}),
    ],
)
def test_what_is_no_single_picture_with_a_geometry_is_refused(tmp_path, fault, tags):
    with pytest.raises(PictureError, match=rf"^bad\.dcm .*{fault}"):
        read_picture(written(tmp_path / "bad.dcm", NOISE, 8, **tags))


@pytest.mark.parametrize("packed", ["", "JPEG", "JPEG2000"])
@pytest.mark.parametrize("share", [50, 90, 99])
def test_file_that_is_cut_off_is_refused(tmp_path, packed, share):
    path = written(tmp_path / "cut.dcm", NOISE, 8, packed=packed)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * share // 100])
    with pytest.raises(PictureError, match=r"^cut\.dcm .*cut off.*again"):
        read_picture(path)


@pytest.mark.parametrize("name", REAL)
def test_real_files_are_read_on_their_grid(shared, name):
    path = shared / "data" / "dicom" / name
    picture = read_picture(path)
    assert picture.modality == {"cr": "xray", "ct": "ct"}[name[:2]] and picture.warnings == ()
    assert picture.slices.std() > 0.1
    check_grid(picture.on_grid(np.zeros(picture.shape, np.uint8)), path)
