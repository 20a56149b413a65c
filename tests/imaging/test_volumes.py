"""NIfTI, NRRD and MetaImage of every number type; headers and bytes that are wrong or too much: refused by name."""

import gzip
import io
import subprocess
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from textseg.errors import PictureError
from textseg.imaging.grid import Grid
from textseg.imaging.read import read_picture

NAMES = ["ct.nii", "ct.nii.gz", "raw.nrrd", "gzip.nrrd", "raw.mha", "gzip.mha"]
COUNTED = np.arange(5 * 6 * 7).reshape(5, 6, 7)  # grows towards head, back and left
SHORTS = COUNTED.T.astype(np.int16)  # x, y, z as nibabel has it
GREY = np.linspace(0, 255, 40 * 56).reshape(40, 56).astype(np.uint8)
STRAIGHT = "(1,0,0) (0,1,0) (0,0,1)"  # as NRRD says it
VECTOR = {"kinds": "vector domain domain domain", "space_directions": f"none {STRAIGHT}"}
PEAK = """import os, resource, sys
from textseg.imaging.read import PictureError, read_picture
if os.fork():  # a fork counts its own peak; the count of a new program begins with its parent's
    sys.exit(os.wait()[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    try: read_picture(path)
    except PictureError: pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"""


def write(path: Path, values: np.ndarray, code: str = "LPS") -> Path:
    """Values (towards head, back, left), stored as `code` says; compressed where the file's name begins with gzip."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.7, 0.9, 2.5)[: image.GetDimension()])
    image.SetOrigin((-31.5, 12.25, 40.0)[: image.GetDimension()])
    image = sitk.DICOMOrient(image, code) if image.GetDimension() == 3 else image
    sitk.WriteImage(image, str(path), path.name.startswith("gzip"))
    return path


def nifti(values: np.ndarray = SHORTS, **patches: np.ndarray) -> bytes:
    """A file of x, y, z (LPS) by nibabel. patches: at112=np.float32(2) puts its bytes at 112."""
    content = bytearray(nib.Nifti1Image(values, np.diag([-1, -1, 1, 1]), dtype=values.dtype).to_bytes())
    for place, new in patches.items():
        content[int(place[2:]) : int(place[2:]) + new.nbytes] = new.tobytes()
    return bytes(content)


def nrrd(data: bytes = bytes(420), **fields: str) -> bytes:
    """A file of 7 x 6 x 5 bytes (and as many more) whose header says anything."""
    said = {"type": "uint8", "space": "LPS", "sizes": "7 6 5", "space_directions": STRAIGHT, "encoding": "raw"} | fields
    lines = [f"dimension: {len(said['sizes'].split())}", *(f"{key.replace('_', ' ')}: {said[key]}" for key in said)]
    return "\n".join(["NRRD0004", "endian: little", *lines, "", ""]).encode() + data


def png(width: int, height: int, bits: int, colour: int, comment: bytes = b"", rows: bytes = b"\0") -> bytes:
    """A PNG of any claim. colour: 0 grey, 4 grey and alpha, 6 RGBA. comment: packed already."""
    header, content = width.to_bytes(4) + height.to_bytes(4) + bytes([bits, colour, 0, 0, 0]), b"\x89PNG\r\n\x1a\n"
    parts = {b"IHDR": header, b"zTXt": b"Comment\0\0" + comment, b"IDAT": zlib.compress(rows), b"IEND": b""}
    for kind, data in parts.items():
        content += len(data).to_bytes(4) + kind + data + zlib.crc32(kind + data).to_bytes(4)
    return content


def jpeg(mode: str = "L", **options: object) -> bytes:
    """GREY as a JPEG of any mode."""
    file = io.BytesIO()
    Image.fromarray(GREY).convert("RGB").convert(mode).save(file, "JPEG", quality=98, **options)
    return file.getvalue()


def check_grid(picture, path: Path) -> None:
    """The picture lies where ITK puts the file, voxel by voxel."""
    image = sitk.ReadImage(str(path))
    assert picture.grid == Grid.of(image)
    stored = sitk.GetArrayFromImage(picture.on_grid(picture.pixels))
    assert np.array_equal(stored, sitk.GetArrayFromImage(image).reshape(stored.shape))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64", "int64"])
@pytest.mark.parametrize("name", NAMES)
def test_volumes_and_slices_of_every_number_type_are_read_as_they_are(tmp_path, name, dtype):
    for part, modality in ((COUNTED, "ct"), (COUNTED[2:3], "xray"), (COUNTED[2], "xray")):
        picture = read_picture(write(tmp_path / name, part.astype(dtype)))
        assert np.array_equal(picture.pixels, part.reshape(-1, 6, 7))
        assert (picture.modality, picture.placed, picture.warnings) == (modality, part.ndim == 3, ())
        check_grid(picture, tmp_path / name)


@pytest.mark.parametrize("code", ["RAS", "LPI", "RPS", "SAR", "PIR", "ILA"])  # turned, left-handed, permuted
@pytest.mark.parametrize("name", ["gzip.nrrd", "raw.mha"])
def test_any_direction_is_shown_with_the_right_on_the_left(tmp_path, name, code):
    picture = read_picture(write(tmp_path / name, COUNTED, code))
    assert np.array_equal(picture.pixels, COUNTED)
    check_grid(picture, tmp_path / name)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize(("slope", "inter"), [(2, -10), (0.5, 0), (1, -1024), (0, 0), (np.nan, np.nan)])
def test_the_scale_of_a_nifti_file_is_applied(tmp_path, dtype, slope, inter):
    (tmp_path / "ct.nii").write_bytes(nifti(COUNTED.T.astype(dtype), at112=np.float32([slope, inter])))
    assert np.array_equal(read_picture(tmp_path / "ct.nii").pixels, COUNTED * slope + inter if slope > 0 else COUNTED)


@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize("name", ["rgb.nii", "rgb.nrrd", "rgba.nrrd"])
def test_colour_channels_are_read_as_brightness_with_a_warning_only_for_colour(tmp_path, name, coloured):
    values = np.repeat(COUNTED.astype(np.uint8)[..., None], 4 if "rgba" in name else 3, axis=-1)
    values[..., 0] //= 1 + coloured
    voxels = np.ascontiguousarray(values[..., :3].transpose(2, 1, 0, 3)).view([(band, "u1") for band in "RGB"])[..., 0]
    in_nrrd = nrrd(values.tobytes(), sizes=f"{values.shape[-1]} 7 6 5", **VECTOR)
    (tmp_path / name).write_bytes(nifti(voxels) if name.endswith("nii") else in_nrrd)
    picture = read_picture(tmp_path / name)
    assert np.abs(picture.pixels - values[..., :3] @ [0.299, 0.587, 0.114]).max() < 0.51
    assert [told.split(",")[0] for told in picture.warnings] == [f"{name} is in colour"] * coloured


@pytest.mark.parametrize(
    ("dtype", "values", "shown"),
    [
        (np.int16, (-1350, -600, 150, 3000), (0, 0.5, 1, 1)),  # air: Hounsfield units, W1500 L-600
        (np.float32, (-101, 0, 75, 150), (1249 / 1500, 0.9, 0.95, 1)),
        (np.uint8, (10, 51, 102, 204), (10 / 255, 0.2, 0.4, 0.8)),
        (np.uint16, (1000, 1200, 1400, 2000), (0, 0.2, 0.4, 1)),
        (np.int16, (-100, 0, 100, 400), (0, 0.2, 0.4, 1)),
    ],
)
def test_brightness_follows_the_range_of_the_values(tmp_path, dtype, values, shown):
    volume = np.repeat(np.array(values, dtype), 36).reshape(4, 6, 6)
    assert read_picture(write(tmp_path / "ct.nrrd", volume)).slices[:, 0, 0] == pytest.approx(shown, abs=1e-6)


NOT_FINITE, SINGULAR, VAST = "holds values that are no numbers", "has a direction matrix", "has 20000 x 20000 x 1 pix"
REFUSED = {  # name -> content, what the user reads
    "vector.nrrd": (nrrd(sizes="2 7 6 5", **VECTOR), "has 2 values per pixel"),
    "complex.nii": (nifti(SHORTS.astype(np.complex64)), "holds complex values"),
    **{f"{x}.nii": (nifti(SHORTS * 1.0, at1024=np.float64(x)), NOT_FINITE) for x in (np.nan, np.inf)},
    **{f"{x}.nrrd": (nrrd(np.float32([x] * 210).tobytes(), type="float"), NOT_FINITE) for x in (np.nan, np.inf)},
    "spacing-x.nii": (nifti(at80=np.float32(0)), "has a voxel spacing of zero"),
    "spacing-z.nii": (nifti(at88=np.float32(0)), "has a voxel spacing of zero"),
    "spacing.nrrd": (nrrd(space_directions="(0,0,0) (0,1,0) (0,0,1)"), "has a voxel spacing of zero"),
    "singular.nii": (nifti(at280=np.float32([1, 1, 0, 0, 0, 0, 0, 0])), SINGULAR),
    "singular.nrrd": (nrrd(space_directions="(1,0,0) (1,0,0) (0,0,1)"), SINGULAR),
    "sheared.nrrd": (nrrd(space_directions="(1,0,0) (0.3,1,0) (0,0,1)"), SINGULAR),
    "sheared.nii": (nifti(at284=np.float32(0.3)), SINGULAR),
    "nan-direction.nii": (nifti(at280=np.float32([np.nan, 0, 0, 0, 0, 1])), "has a geometry .* no numbers"),
    "nan-origin.nii": (nifti(at280=np.float32([1, 0, 0, np.nan, 0, 1])), "has a geometry .* no numbers"),
    "vast.nii.gz": (gzip.compress(nifti(at42=np.int16([20_000, 20_000, 1]))), VAST),
    "vast.nrrd": (nrrd(sizes="20000 20000 1"), VAST),
    "gzip.nrrd": (nrrd(gzip.compress(bytes(210)), sizes="20000 20000 1", encoding="gzip"), VAST),
    "vast.jpg": (jpeg().replace(b"\x08\0\x28\0\x38", b"\x08\x4e\x20\x4e\x20"), "has too many pixels"),
    "vast.png": (png(20_000, 20_000, 8, 0), "has 20000 x 20000 pixels"),
    "alpha.png": (png(20_000, 20_000, 8, 4), "has too many pixels"),
    "deep.png": (png(30_000, 8_000, 16, 6), "has 30000 x 8000 pixels of 8 bytes"),
    "half.jpg": (jpeg()[: len(jpeg()) // 2], "cannot be read"),
    **{f"empty{suffix}": (b"", "is empty") for suffix in (".nii", ".nii.gz", ".nrrd", ".mha")},
    **{f"text{suffix}": (b"No pulmonary infection.\n" * 30, "cannot be read") for suffix in (".nrrd", ".mha")},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_a_picture_is_refused_by_name(tmp_path, name):
    content, told = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PictureError, match=f"^{name} {told}"):
        read_picture(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
def test_half_a_volume_is_refused(tmp_path, name):
    path = write(tmp_path / name, np.random.default_rng(0).integers(0, 30_000, (5, 60, 70)).astype(np.int16))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(PictureError, match=f"{name} cannot be read"):
        read_picture(path)


def test_comments_that_unpack_to_300_megabytes_take_no_memory(tmp_path):
    packer = zlib.compressobj(1)
    comment = b"".join([packer.compress(bytes(2**20)) for _ in range(300)]) + packer.flush()
    (tmp_path / "grey.png").write_bytes(png(16, 16, 8, 0, comment, bytes(16 * 17)))
    (tmp_path / "alpha.png").write_bytes(png(16, 16, 8, 4, comment, bytes(16 * 33)))
    told = subprocess.check_output([sys.executable, "-c", PEAK, *tmp_path.iterdir()], text=True)
    assert int(told) < 100  # MB


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_jpeg_is_read_as_it_is_stored_with_its_spacing_and_a_warning_if_it_asks_to_be_turned(tmp_path, mode):
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "chest.jpg").write_bytes(jpeg(mode, exif=exif, dpi=(254, 127)))
    picture = read_picture(tmp_path / "chest.jpg")
    assert np.abs(picture.pixels[0].astype(int) - GREY).max() < 8
    assert "chest.jpg asks to be turned (EXIF orientation 6)" in picture.warnings[0]
    assert picture.grid == Grid.of(sitk.ReadImage(str(tmp_path / "chest.jpg")))
