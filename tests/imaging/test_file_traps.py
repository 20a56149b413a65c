"""Files that ITK reads as something else without a word: another file's bytes, wrapped values, a slice left out."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk

from textseg.data.dicom_files import AXIAL, drawn_dicom, write_ct_series
from textseg.errors import PictureError
from textseg.imaging.read import read_picture
from textseg.imaging.series import count_series

ARRAYS = {
    "8 then 16 bits": (np.uint8(200), np.uint16(1000), np.uint16(1000)),
    "signed then unsigned": (np.int16(200), np.uint16(40000), np.uint16(1000)),
    "unsigned then signed": (np.uint16(200), np.int16(-1000), np.int16(-1000)),
}


@pytest.fixture
def series(tmp_path):
    """Five slices of a drawn CT."""
    values = np.arange(5 * 8 * 9, dtype=np.int16).reshape(5, 8, 9) - 900
    write_ct_series(tmp_path / "series", values, (0.7, 0.9, 2.5), "series")
    return tmp_path / "series"


@pytest.mark.parametrize("stored", ARRAYS.values(), ids=ARRAYS)
def test_a_series_of_mixed_number_types_keeps_its_values(tmp_path, stored):
    for height, value in enumerate(stored):
        pixels, place = np.full((8, 9), value), {"ImagePositionPatient": [0, 0, height], "PixelSpacing": [1, 1]}
        data = drawn_dicom(pixels, str(height), "CT", "mixed", pixels.itemsize * 8, ImageOrientationPatient=[*AXIAL])
        for tag, number in place.items():
            setattr(data, tag, number)
        data.save_as(tmp_path / f"{height}.dcm", write_like_original=False)
    assert read_picture(tmp_path).pixels[:, 0, 0].tolist() == [float(value) for value in stored]


@pytest.mark.parametrize("content", [b"", b"damaged"])
def test_a_damaged_end_slice_is_not_left_out(series, content):
    (series / "slice_004.dcm").write_bytes(content)
    with pytest.raises(PictureError, match=r"series: slice_004\.dcm cannot be read: it is damaged or empty"):
        read_picture(series)


@pytest.mark.parametrize("length", [141, 152, 400])
def test_a_slice_cut_off_in_its_header_is_named_and_does_not_break_the_listing(series, length):
    path = series / "slice_002.dcm"
    path.write_bytes(path.read_bytes()[:length])
    assert count_series(series) in (1, 2)
    with pytest.raises(PictureError, match=r"series: slice_002\.dcm (cannot be read|holds no pixels)"):
        read_picture(series)


def test_positions_that_are_no_numbers_are_refused(series):
    path = series / "slice_002.dcm"
    path.write_bytes(path.read_bytes().replace(rb"0.0\0.0\5.0 ", rb"0.0\0.0\nan "))
    with pytest.raises(PictureError, match=r"series: slice_002\.dcm does not say where it lies"):
        read_picture(series)


def test_spacings_that_differ_by_rounding_are_one_series(series):
    for path in sorted(series.iterdir())[::2]:
        path.write_bytes(path.read_bytes().replace(b"0.9\\0.7 ", b"0.9\\0.70"))
    assert read_picture(series).grid.size == (9, 8, 5)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a.nrrd", "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 8 8\nencoding: raw\ndata file: {}\n"),
        ("b.nrrd", "NRRD0004\ntype: uchar\ndimension: 2\nsizes: 8 8\nencoding: raw\nDataFile: {}\n"),
        ("d.mha", "ObjectType = Image\nNDims = 2\nDimSize = 8 8\nElementType = MET_UCHAR\n\nElementDataFile = {}\n"),
        ("e.nrrd", "NRRD0004\rtype: uchar\rdimension: 2\rsizes: 8 8\rencoding: raw\rdata file: {}\r"),
        ("c.mha", "ObjectType = Image\nNDims = 2\nDimSize = 8 8\nElementType = MET_UCHAR\nElementDataFile = {}\n"),
    ],
)
def test_a_picture_cannot_reach_another_file_of_the_machine(tmp_path, name, header):
    (tmp_path / "secret").write_bytes(bytes(range(64)))
    (tmp_path / name).write_text(header.format(tmp_path / "secret"))
    with pytest.raises(PictureError, match=rf"{name} keeps its pixels in another file"):
        read_picture(tmp_path / name)


def test_a_header_that_hides_its_end_is_refused(tmp_path):
    header = "NRRD0004\n#" + "x" * 2**20 + "\ntype: uchar\ndimension: 2\nsizes: 8 8\nencoding: raw\ndata file: secret\n"
    (tmp_path / "f.nrrd").write_text(header)
    with pytest.raises(PictureError, match=r"f\.nrrd cannot be read: it is damaged, or its header is far too long"):
        read_picture(tmp_path / "f.nrrd")


@pytest.mark.parametrize(
    ("offset", "value", "said"),
    [
        (80, struct.pack("<f", np.nan), "values that are no numbers"),
        (80, struct.pack("<f", np.inf), "values that are no numbers"),
        (268, struct.pack("<f", np.nan), "values that are no numbers"),
        (108, struct.pack("<f", 3e38), "header is damaged, or far too long"),
        (108, struct.pack("<f", -1), "header is damaged, or far too long"),
        (108, struct.pack("<f", 256), "cannot be read"),
        (44, struct.pack("<h", -2), "cannot be read"),
    ],
)
def test_a_nifti_header_that_makes_no_sense_is_refused(tmp_path, offset, value, said):
    path = tmp_path / "ct.nii"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((5, 6, 7), np.int16)), str(path))
    content = bytearray(path.read_bytes())
    content[offset : offset + len(value)] = value
    path.write_bytes(content)
    with pytest.raises(PictureError, match=rf"ct\.nii .*{said}"):
        read_picture(path)
