"""One drawn picture in any format: asked for a patient's side, the mask lies on that side's marker, to the voxel.

A stand-in network marks what is bright in the half of the picture that the text tells it, as a trained one should.
"""

import io
import math
import tempfile
from dataclasses import dataclass, replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from textseg.data.dicom_files import drawn_dicom
from textseg.engine.predictor import Predictor
from textseg.engine.texts import Said
from textseg.imaging.read import read_picture
from textseg.imaging.write import write_mask
from textseg.registry import DEFAULT_MODEL, MODELS
from textseg.text.prompt import read_prompt

SIDE = 32  # voxels along every shown row and column: the stand-in's own input size, so that nothing is resized
AXES = list(permutations(("RL", "AP", "SI")))
CODES = ["".join(code) for axes in AXES for code in product(*axes)]
RIGHT, LEFT = 1, 2
VALUES = {  # stored number type -> background and marker; negative ones are Hounsfield units
    "uint8": (20, 220),
    "int16": (-900, 100),
    "uint16": (700, 3500),
    "float32": (-880.5, 60.25),
}
FLAT = ("png", "png16", "png-rgb", "png-rgba", "png-la", "png-palette", "jpg", "jpg-rgb", "webp")
CR = ("raw8", "raw12", "raw16", "turned12", "turned16", "jpeg8", "j2k12")
PLACED = (".nii", ".nii.gz", ".nrrd", ".mha")
VIEWS = {  # PatientOrientation -> how the standard display (right on the left, head up) is stored
    ("L", "F"): lambda shown: shown,
    ("R", "F"): lambda shown: shown[:, ::-1],
    ("L", "H"): lambda shown: shown[::-1],
    ("R", "H"): lambda shown: shown[::-1, ::-1],
    ("F", "L"): lambda shown: shown.T,
    ("H", "R"): lambda shown: shown[::-1, ::-1].T,
}


class Obedient(torch.nn.Module):
    """Marks every bright pixel in the half that the eight numbers name (picture sides)."""

    text_encoder = None

    def encode_image(self, image: torch.Tensor) -> torch.Tensor:
        return image[:, :1]

    def encode_prompt(self, text: torch.Tensor) -> torch.Tensor:
        return text

    def segment(self, features: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        halves = torch.zeros(SIDE)
        halves[: SIDE // 2], halves[SIDE // 2 :] = text[0, 2:5].max(), text[0, 5:8].max()
        return torch.where((features > 0.5) & (halves > 0), 9.0, -9.0)


@dataclass(frozen=True)
class Drawn:
    """Markers as stored (z, y, x): 0, RIGHT or LEFT; and the file or series folder that shows them."""

    path: Path
    markers: np.ndarray


def markers(slices: int) -> np.ndarray:
    """head, back, left: one block per patient side, at different heights; the last slices bear none."""
    drawn = np.zeros((slices, SIDE, SIDE), np.uint8)
    drawn[0, 4:12, 3:12] = RIGHT
    drawn[0, 18:25, 20:30] = LEFT
    return drawn


def valued(drawn: np.ndarray, dtype: str) -> np.ndarray:
    low, high = VALUES[dtype]
    return np.where(drawn > 0, high, low).astype(dtype)


def write_flat(folder: Path, kind: str) -> Drawn:
    drawn = markers(1)
    grey = Image.fromarray(valued(drawn[0], "uint16" if kind == "png16" else "uint8"))
    suffix, _, mode = kind.replace("16", "").partition("-")
    path = folder / f"drawn.{suffix}"
    if mode == "palette":
        grey = grey.quantize(4)
    elif mode:
        grey = grey.convert(mode.upper())
    grey.save(path, **({"lossless": True} if suffix == "webp" else {"quality": 95} if suffix == "jpg" else {}))
    return Drawn(path, drawn)


def write_placed(folder: Path, suffix: str, dtype: str, code: str, angles: tuple, slices: int) -> Drawn:
    """A slice or volume with a direction: turned by small angles, axes and flips as `code` says."""
    stored = {}
    for name, pixels in (("drawn", valued(markers(slices), dtype)), ("markers", markers(slices))):
        image = sitk.GetImageFromArray(pixels)
        image.SetSpacing((0.7, 0.9, 2.5))
        image.SetOrigin((-31.5, 12.25, 40.0))
        image.SetDirection(turned(angles).ravel().tolist())
        stored[name] = sitk.DICOMOrient(image, code)
    path = folder / f"drawn{suffix}"
    sitk.WriteImage(stored["drawn"], str(path))
    return Drawn(path, sitk.GetArrayFromImage(stored["markers"]))


def turned(angles: tuple[float, float, float]) -> np.ndarray:
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(*(math.radians(angle) for angle in angles))
    return np.array(rotation.GetMatrix()).reshape(3, 3)


def write_cr(folder: Path, kind: str, orientation: tuple[str, str]) -> Drawn:
    """A radiograph without a place, stored as PatientOrientation says."""
    drawn = np.ascontiguousarray(VIEWS[orientation](markers(1)[0]))
    bits = int(kind[-2:]) if kind[-1] != "8" else 8
    low, high = 0.1 * 2**bits, 0.8 * 2**bits
    pixels = np.where((drawn > 0) != kind.startswith("turned"), high, low).astype(np.uint8 if bits == 8 else np.uint16)
    photometric = "MONOCHROME1" if kind.startswith("turned") else "MONOCHROME2"
    tags = {"PatientOrientation": list(orientation), "PhotometricInterpretation": photometric}
    data = drawn_dicom(pixels, kind, "CR", kind, bits, **tags)
    if kind in ("jpeg8", "j2k12"):
        code = io.BytesIO()
        form, options = ("JPEG", {"quality": 95}) if kind == "jpeg8" else ("JPEG2000", {"no_jp2": True})
        Image.fromarray(pixels).save(code, form, **options)
        data.PixelData = encapsulate([code.getvalue()])
        data["PixelData"].is_undefined_length = True
        data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if kind == "jpeg8" else JPEG2000Lossless
    data.save_as(str(folder / "drawn.dcm"), write_like_original=False)
    return Drawn(folder / "drawn.dcm", drawn[None])


def write_ct(folder: Path, code: str, angles: tuple, slices: int) -> Drawn:
    """A CT slice, or a series in a folder, acquired along the axes that `code` says (made right-handed)."""
    slices = slices if code[2] in "SI" else 4
    source = write_placed(folder, ".nrrd", "int16", code, angles, slices)
    image = sitk.ReadImage(str(source.path))
    axes = np.array(image.GetDirection()).reshape(3, 3)
    stored, drawn = sitk.GetArrayFromImage(image), source.markers
    origin, step = np.array(image.GetOrigin()), axes[:, 2] * image.GetSpacing()[2]
    if np.linalg.det(axes) < 0:  # a DICOM series goes along the normal of its slices
        origin, step, stored, drawn = origin + step * (len(stored) - 1), -step, stored[::-1], drawn[::-1]
    source.path.unlink()
    series = folder / "series"
    series.mkdir()
    for number, pixels in enumerate(stored):
        data = drawn_dicom(
            np.ascontiguousarray(pixels),
            str(number),
            "CT",
            "series",
            16,
            ImageOrientationPatient=[f"{cosine:.12f}" for cosine in (*axes[:, 0], *axes[:, 1])],
            ImagePositionPatient=[f"{value:.9f}" for value in origin + number * step],
            PixelSpacing=[image.GetSpacing()[1], image.GetSpacing()[0]],
            SliceThickness=image.GetSpacing()[2],
            RescaleSlope=1,
            RescaleIntercept=0,
        )
        data.save_as(str(series / f"IM{(number * 7) % 10}{number}.dcm"), write_like_original=False)
    return Drawn(series if slices > 1 else next(series.iterdir()), drawn)


small = st.floats(-8, 8)
angles = st.tuples(small, small, small)
drawings = st.one_of(
    st.tuples(st.just(write_flat), st.tuples(st.sampled_from(FLAT))),
    st.tuples(st.just(write_cr), st.tuples(st.sampled_from(CR), st.sampled_from(sorted(VIEWS)))),
    st.tuples(st.just(write_ct), st.tuples(st.sampled_from(CODES), angles, st.sampled_from([1, 4]))),
    st.tuples(
        st.just(write_placed),
        st.tuples(
            st.sampled_from(PLACED),
            st.sampled_from(sorted(VALUES)),
            st.sampled_from(CODES),
            angles,
            st.sampled_from([1, 2, 5]),
        ),
    ),
)


@settings(max_examples=250)
@given(drawings, st.sampled_from(["left", "right"]), st.sampled_from([".nrrd", ".nii.gz"]))
@example((write_flat, ("png16",)), "right", ".nrrd")
@example((write_cr, ("turned16", ("R", "F"))), "left", ".nii.gz")
@example((write_ct, ("PIR", (5.0, -3.0, 7.0), 4)), "right", ".nrrd")
@example((write_placed, (".nii.gz", "float32", "SAL", (-8.0, 8.0, 8.0), 5)), "left", ".nii.gz")
def test_the_mask_lies_on_the_marker_of_the_side_that_was_asked_for(drawing, side, suffix):
    write, arguments = drawing
    with tempfile.TemporaryDirectory() as folder:
        drawn = write(Path(folder), *arguments)
        picture = read_picture(drawn.path)
        said = Said(read_prompt(f"infection, {side} lung").finding)
        predictor = Predictor(replace(MODELS[DEFAULT_MODEL], input_size=SIDE), Obedient(), 0.5, "v", "cpu")
        write_mask(picture, predictor.predict(picture, said).masks, Path(folder) / f"mask{suffix}")
        mask, source = sitk.ReadImage(str(Path(folder) / f"mask{suffix}")), as_itk_reads(drawn.path)
    wanted = drawn.markers == (RIGHT if side == "right" else LEFT)
    assert np.array_equal(sitk.GetArrayFromImage(mask), wanted)
    assert mask.GetSize() == source.GetSize()
    for got, expected in (
        (mask.GetSpacing(), source.GetSpacing()),
        (mask.GetOrigin(), source.GetOrigin()),
        (mask.GetDirection(), source.GetDirection()),
    ):
        assert np.allclose(got, expected, atol=1e-4)


def as_itk_reads(path: Path) -> sitk.Image:
    """The file's or series' geometry by SimpleITK alone, 3-D."""
    if path.is_dir():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
        return sitk.ReadImage(names, imageIO="GDCMImageIO")
    if path.suffix in (".png", ".webp"):  # without a place of their own; ITK does not open all of them
        return sitk.JoinSeries(sitk.Image(Image.open(path).size, sitk.sitkUInt8))
    image = sitk.ReadImage(str(path))
    return image if image.GetDimension() == 3 else sitk.JoinSeries(image)
