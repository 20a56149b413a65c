"""Sample studies drawn by the project: chest X-rays (PNG, DICOM CR, NIfTI), a CT volume and a CT series, with masks.

The names differ in letters, not in digits: Slicer stacks pictures whose names differ by a number into one volume.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from textseg.data.dicom_files import write_ct_series, write_radiograph
from textseg.data.phantoms import Phantom, draw_ct_slice, draw_radiograph
from textseg.text.finding import ZONES, Finding
from textseg.text.sentence import canonical

MASKS = "exact_masks"
CT_SLICES, CT_SPACING = 24, (1.4, 1.4, 8.0)


@dataclass(frozen=True)
class Drawing:
    """One X-ray to draw: file name, places in patient sides, seed, side length in pixels."""

    name: str
    places: dict[str, tuple[str, ...]]
    seed: int
    size: int = 512


RADIOGRAPHS = (
    Drawing("xray_alpha.png", {"left": ("lower",), "right": ("upper",)}, seed=11),
    Drawing("xray_bravo.png", {"left": ("middle", "lower"), "right": ("lower",)}, seed=12, size=640),
    Drawing("xray_charlie.png", {"right": ("lower",)}, seed=13),
    Drawing("xray_delta.dcm", {"left": ("upper", "lower"), "right": ("middle",)}, seed=14, size=768),
    Drawing("xray_echo.nii.gz", {"left": ("lower",), "right": ("lower",)}, seed=15),
)
CT_NAME = "ct_foxtrot.nii.gz"
SERIES_NAME, SERIES_SLICES = "ct_golf", 16


def write_sample_studies(folder: Path) -> list[Path]:
    """Draw all sample studies into `folder` with their prompts.csv, and the exact masks into its exact_masks/."""
    (folder / MASKS).mkdir(parents=True, exist_ok=True)
    prompts = []
    for drawing in RADIOGRAPHS:
        phantom = draw_radiograph(drawing.places, drawing.seed, drawing.size)
        _write_radiograph(folder / drawing.name, phantom, drawing.seed)
        _write_mask(folder / MASKS / f"{drawing.name.split('.')[0]}.nii.gz", folder / drawing.name, phantom.mask[None])
        prompts.append((drawing.name, canonical(phantom.finding), "xray"))
    _write_ct(folder)
    prompts.append((CT_NAME, canonical(Finding(left=ZONES, right=ZONES)), "ct"))
    _write_series(folder)
    prompts.append((SERIES_NAME, canonical(Finding(left=ZONES)), "ct"))
    with (folder / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "prompt", "modality"))
        table.writerows(prompts)
    return [folder / name for name, _, _ in prompts]


def _write_radiograph(path: Path, phantom: Phantom, seed: int) -> None:
    if path.suffix == ".dcm":
        write_radiograph(path, phantom.image, str(seed))
    else:
        flat = path.suffix == ".png"
        image = sitk.GetImageFromArray(phantom.image if flat else phantom.image[None])
        if not flat:
            image.SetSpacing((0.8, 0.8, 1.0))
        sitk.WriteImage(image, str(path))


def _write_ct(folder: Path) -> None:
    values, masks = _drawn_ct(("left", "right"), CT_SLICES, seed=100)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(CT_SPACING)
    image.SetOrigin((-180.0, -170.0, -95.0))
    sitk.WriteImage(image, str(folder / CT_NAME))
    _write_mask(folder / MASKS / CT_NAME, folder / CT_NAME, masks)


def _write_series(folder: Path) -> None:
    values, masks = _drawn_ct(("left",), SERIES_SLICES, seed=200)
    write_ct_series(folder / SERIES_NAME, values, CT_SPACING, SERIES_NAME)
    image = sitk.GetImageFromArray(masks)
    image.SetSpacing(CT_SPACING)
    sitk.WriteImage(image, str(folder / MASKS / f"{SERIES_NAME}.nii.gz"), useCompression=True)


def _drawn_ct(sides: tuple[str, ...], count: int, seed: int, size: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Hounsfield units and masks, N x H x W, from the base of the lungs to the apex."""
    drawn = [draw_ct_slice(sides, i / (count - 1), seed + i, size) for i in range(count)]
    return np.stack([values for values, _ in drawn]), np.stack([mask for _, mask in drawn])


def _write_mask(path: Path, picture: Path, masks: np.ndarray) -> None:
    """The mask on the picture's own grid (drawn pictures lie in the file as they are displayed)."""
    source = sitk.ReadImage(str(picture))
    image = sitk.GetImageFromArray(masks)
    if source.GetDimension() == 3:
        image.CopyInformation(source)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_large_studies(folder: Path) -> list[Path]:
    """Pictures of the size that hospitals have: a CR, a JPEG of 12 megapixels, a CT as NIfTI and as DICOM series."""
    cr, jpeg = folder / "cr_2500x2000.dcm", folder / "jpeg_12_megapixels.jpg"
    nifti, series = folder / "ct_70x512x512.nii.gz", folder / "ct_70x512x512_series"
    image = draw_radiograph({"left": ("lower",)}, seed=21, size=1000).image
    write_radiograph(cr, np.asarray(Image.fromarray(image).resize((2000, 2500))), "large")
    Image.fromarray(image).resize((3464, 3464)).save(jpeg, quality=92)
    values, _ = _drawn_ct(("left",), 70, seed=300, size=512)
    volume = sitk.GetImageFromArray(values)
    volume.SetSpacing((0.7, 0.7, 5.0))
    sitk.WriteImage(volume, str(nifti))
    write_ct_series(series, values, (0.7, 0.7, 5.0), "large")
    return [cr, jpeg, nifti, series]
