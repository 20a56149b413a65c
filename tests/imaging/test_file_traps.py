"""Files that ITK reads as something else without a word: another file's bytes, wrapped values, a slice left out."""

import random
import struct
import subprocess
import sys
from pathlib import Path

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

READ_ALL = """
import sys
from pathlib import Path
from textseg.errors import PictureError
from textseg.imaging.read import read_picture
done = 0
for path in Path(sys.argv[1]).iterdir():
    try:
        read_picture(path)
    except PictureError as error:
        assert path.name in str(error)
    done += 1
print(done)
"""


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


@pytest.mark.parametrize("name", ["chest.png", "chest.jpg", "chest.nrrd", "chest.mha", "chest.nii"])
def test_dicom_under_another_name_is_refused(tmp_path, name):
    """Its sides, brightness and damage would go unseen."""
    drawn_dicom(np.zeros((8, 9), np.uint16), "x", "CR", "x", 12).save_as(tmp_path / name, write_like_original=False)
    with pytest.raises(PictureError, match=rf"{name} cannot be read: it is damaged"):
        read_picture(tmp_path / name)


def header_of(folder: Path, suffix: str) -> tuple[list[bytes], bytes]:
    """The lines of a header as ITK writes it, and the pixels."""
    path = folder / f"good{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 8, 9), np.uint8)), str(path))
    end = b"\n\n" if suffix == ".nrrd" else b"LOCAL\n"
    head, _, pixels = path.read_bytes().partition(end)
    return (head + end).split(b"\n"), pixels


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".nrrd", b"units: " + b"A" * 5000),
        (".nrrd", b"key: :=" + b"A" * 5000),
        (".nrrd", b"A" * 5000 + b":=1"),
        (".nrrd", b"kinds: a\0b"),
        (".mha", b"Name = " + b"A" * 300),
        (".mha", b"NDims = 99"),
        (".mha", b"NDims = -1"),
        (".mha", b"NDims =:99 3"),
        (".mha", b"NDims\0 = 99"),
        (".mha", b"NDims"),
        (".mha", b"NDims = 1e308"),
    ],
)
def test_a_header_that_would_end_the_process_is_refused(tmp_path, suffix, line):
    """NrrdIO and MetaIO write over their own memory: most of these were the end of the whole server."""
    (first, *rest), pixels = header_of(tmp_path, suffix)
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"\n".join([first, line, *rest]) + pixels)
    with pytest.raises(PictureError, match=rf"bad\{suffix} cannot be read: it is damaged"):
        read_picture(path)


@pytest.mark.parametrize(
    ("suffix", "line"),
    [
        (".nrrd", b"Segmentation_ConversionParameters:=" + b"Collapse labelmaps|1: x|" * 400),
        (".nrrd", b"# " + b"A comment: " * 400),
        (".nrrd", b"content: a chest"),
        (".nrrd", b"0010|0010:=Yamada^Tarou=\x1b$B;3ED\x1b(B"),
        (".mha", b"Comment = a chest: supine"),
        (".mha", b"0008|0060 = CR"),
        (".mha", b"dim[0] = 3"),
        (".mha", b"0008|2111 = " + b"derived: " * 400),
    ],
)
def test_long_lines_that_do_no_harm_are_read(tmp_path, suffix, line):
    (first, *rest), pixels = header_of(tmp_path, suffix)
    path = tmp_path / f"good{suffix}"
    path.write_bytes(b"\n".join([first, line, *rest]) + pixels)
    assert read_picture(path).grid.size == (9, 8, 3)


@pytest.mark.parametrize("kind", ["nii.gz", "dcm"])
def test_what_itk_turns_into_metaimage_or_nrrd_is_read(tmp_path, kind):
    """It takes the source's own fields along."""
    if kind == "dcm":
        drawn_dicom(np.zeros((8, 9), np.uint16), "x", "CR", "x", 12).save_as(
            tmp_path / "a.dcm", write_like_original=False
        )
    else:
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((3, 8, 9), np.uint8)), str(tmp_path / "a.nii.gz"))
    image = sitk.ReadImage(str(tmp_path / f"a.{kind}"))
    assert image.GetMetaDataKeys()
    for name in ("b.mha", "b.nrrd"):
        sitk.WriteImage(image, str(tmp_path / name), useCompression=True)
        assert read_picture(tmp_path / name).grid.size[:2] == (9, 8)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_header_damaged_anywhere_never_ends_the_process(tmp_path, suffix):
    """They are read in a process of its own, so that its end fails this test and not all of them."""
    lines, pixels = header_of(tmp_path, suffix)
    rng, folder = random.Random(suffix), tmp_path / "damaged"
    folder.mkdir()
    for number in range(400):
        head = bytearray(b"\n".join(lines))
        for _ in range(rng.randint(1, 3)):
            place = rng.randint(0, len(head))
            damage = rng.choice([b"9", b"99", b"-", b"=", b":", b"\n", b"\0", b"A" * 2000, rng.randbytes(6)])
            head[place : place + rng.randint(0, 8)] = damage
        (folder / f"{number}{suffix}").write_bytes(bytes(head) + pixels)
    done = subprocess.run([sys.executable, "-c", READ_ALL, folder], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "400\n"), done.stderr[-2000:]


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
