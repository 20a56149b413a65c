"""DICOM headers that are damaged or unusual: shown as the standard says, or refused in words, and nothing else."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from textseg.data.dicom_files import drawn_dicom
from textseg.errors import PictureError
from textseg.imaging.patient import patient_of
from textseg.imaging.read import read_picture
from textseg.imaging.series import count_series

GREY = np.arange(40 * 56, dtype=np.uint16).reshape(40, 56)
VALUES = GREY.astype(float)


def table(first: int, data: list[int], bits: int) -> Dataset:
    item = Dataset()
    item.add_new("LUTDescriptor", "US", [len(data), first, bits])
    item.add_new("LUTData", "OW", np.array(data, "<u2").tobytes())
    return item


def shown(folder: Path, pixels: np.ndarray = GREY, bits: int = 12, modality: str = "CR", **tags: object) -> np.ndarray:
    drawn_dicom(pixels, "x", modality, "x", bits, **tags).save_as(folder / "chest.dcm", write_like_original=False)
    return read_picture(folder / "chest.dcm").slices[0]


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_a_modality_table_alone_is_followed(tmp_path, bits):
    steps = [min(2**bits - 1, (value // 4) ** 2 // 64) for value in range(2240)]
    brightness = shown(tmp_path, ModalityLUTSequence=Sequence([table(0, steps, bits)]))
    stored = np.array(steps, float)[GREY]
    low, high = np.percentile(stored, (0.5, 99.5))
    assert np.abs(brightness - np.clip((stored - low) / (high - low), 0, 1)).max() < 0.02


def test_a_voi_table_of_8_bits_with_thousands_of_entries_does_not_wrap(tmp_path):
    steps = [value * 255 // 4095 for value in range(4096)]
    brightness = shown(tmp_path, VOILUTSequence=Sequence([table(0, steps, 8)]))
    assert np.abs(brightness - np.array(steps)[GREY] / 255).max() < 1e-3


def test_a_sigmoid_after_a_negative_slope_is_not_turned_round(tmp_path):
    tags = {"VOILUTFunction": "SIGMOID", "WindowCenter": -1000, "WindowWidth": 900}
    brightness = shown(tmp_path, RescaleSlope=-1, RescaleIntercept=0, **tags)
    assert np.abs(brightness - 1 / (1 + np.exp(-4 * (-VALUES + 1000) / 900))).max() < 1e-3


@pytest.mark.parametrize(
    "tags",
    [
        {"VOILUTFunction": "SIGMOID"},
        {"VOILUTFunction": "SIGMOID", "WindowCenter": 900},
        {"VOILUTFunction": "SIGMOID", "WindowCenter": 900, "WindowWidth": 0},
        {"WindowCenter": 900, "WindowWidth": 0},
        {"VOILUTSequence": Sequence([Dataset()])},
    ],
    ids=["sigmoid alone", "centre alone", "no width", "straight without width", "empty table"],
)
def test_half_a_window_is_none(tmp_path, tags):
    low, high = np.percentile(VALUES, (0.5, 99.5))
    assert np.abs(shown(tmp_path, **tags) - np.clip((VALUES - low) / (high - low), 0, 1)).max() < 1e-3


@pytest.mark.parametrize(
    ("said", "modality", "tags"),
    [
        ("is cut off: it holds fewer pixels", "CR", {"PixelData": GREY.tobytes()[:2000]}),
        ("unusual place", "CR", {"HighBit": 15}),
        ("pixel spacing that is zero or no number", "CT", {"PixelSpacing": ["nan", "nan"]}),
        ("cannot be read", "CT", {"PixelSpacing": 1}),
        ("cannot be read", "CR", {"Rows": [40, 40]}),
    ],
)
def test_what_itk_would_read_as_something_else_is_refused(tmp_path, said, modality, tags):
    with pytest.raises(PictureError, match=rf"chest\.dcm.* {said}"):
        shown(tmp_path, modality=modality, **tags)


def peak_mb() -> int:
    """What this process took at most since it was last asked to forget it, Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


@pytest.mark.parametrize("packed", [False, True], ids=["uncompressed", "in fragments"])
@pytest.mark.parametrize(
    ("behind", "damage"),
    [*((behind, b"\xfe\xff\xff\x3f") for behind in (4, 8, 12, 13, 16, 21, 24, 28)), (4, b"\0\0"), (10, b"\0\0\0\0")],
)
def test_a_damaged_length_of_the_pixels_is_refused_and_takes_no_memory(tmp_path, packed, behind, damage):
    """behind: so many bytes behind the beginning of the element the file is damaged. ITK took gigabytes for it."""
    path = tmp_path / "chest.dcm"
    data = drawn_dicom(GREY, "x", "CR", "x", 12)
    if packed:
        data.compress(RLELossless)
    data.save_as(path, write_like_original=False)
    content = bytearray(path.read_bytes())
    place = content.index(b"\xe0\x7f\x10\x00O") + behind
    content[place : place + len(damage)] = damage
    path.write_bytes(content)
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mb()
    if packed or behind < 10:
        with pytest.raises(
            PictureError, match=r"chest\.dcm (is cut off: it holds fewer|holds no pixels|is damaged, or stores)"
        ):
            read_picture(path)
    else:
        assert read_picture(path).slices.shape == (1, *GREY.shape)  # some pixels have other values
    assert peak_mb() - before < 200


def test_fragments_that_have_no_end_are_refused(tmp_path):
    path = tmp_path / "chest.dcm"
    data = drawn_dicom(GREY, "x", "CR", "x", 12)
    data.compress(RLELossless)
    data.save_as(path, write_like_original=False)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(PictureError, match="cut off"):
        read_picture(path)


def deflated(path: Path) -> None:
    data = drawn_dicom(GREY, "x", "CR", "x", 12)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path, write_like_original=False)


def test_deflated_files_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    deflated(tmp_path / "chest.dcm")
    monkeypatch.setattr("zlib.decompress", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(PictureError, match=r"chest\.dcm is deflated DICOM"):
        read_picture(tmp_path / "chest.dcm")
    assert count_series(tmp_path) == 1 and patient_of(tmp_path / "chest.dcm") == ""


def test_implicit_elements_in_a_file_that_says_explicit_are_read(tmp_path):
    """A known fault of exporting programs."""
    data = drawn_dicom(GREY, "x", "CR", "x", 12)
    data.is_implicit_VR = True
    data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    data.save_as(tmp_path / "chest.dcm", write_like_original=False)
    content = (tmp_path / "chest.dcm").read_bytes()
    assert content.count(b"1.2.840.10008.1.2\0") == 1
    (tmp_path / "chest.dcm").write_bytes(said_explicit(content))
    assert read_picture(tmp_path / "chest.dcm").slices.shape == (1, *GREY.shape)


def said_explicit(content: bytes) -> bytes:
    """With another transfer syntax and the length of its group, two bytes longer."""
    at = content.index(b"\x02\0\x10\0UI\x12\0") + 6
    longer = content[:at] + b"\x14\0" + b"1.2.840.10008.1.2.1\0" + content[at + 2 + 18 :]
    length = int.from_bytes(longer[140:144], "little") + 2
    return longer[:140] + length.to_bytes(4, "little") + longer[144:]


@settings(max_examples=150)
@given(st.integers(132, 1200), st.binary(min_size=1, max_size=12))
def test_a_damaged_header_raises_only_what_a_person_can_read(place, damage):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "chest.dcm"
        tags = {"WindowCenter": 900, "WindowWidth": 800, "VOILUTSequence": Sequence([table(0, [0, 9, 99], 8)])}
        drawn_dicom(GREY, "x", "CR", "x", 12, **tags).save_as(path, write_like_original=False)
        content = bytearray(path.read_bytes())
        content[place : place + len(damage)] = damage
        path.write_bytes(content)
        try:
            picture = read_picture(path)
        except PictureError as error:
            assert "chest.dcm" in str(error)
        else:
            assert np.isfinite(picture.slices).all()
