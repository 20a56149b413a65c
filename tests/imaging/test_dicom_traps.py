"""DICOM headers that are damaged or unusual: shown as the standard says, or refused in words, and nothing else."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, Sequence

from textseg.data.dicom_files import drawn_dicom
from textseg.errors import PictureError
from textseg.imaging.read import read_picture

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
