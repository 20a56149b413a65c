"""Sample studies drawn by the project: chest X-rays (PNG, DICOM CR, NIfTI) and a CT volume, with exact masks.

The names differ in letters, not in digits: Slicer stacks pictures whose names differ by a number into one volume.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from textseg.data.phantoms import Phantom, draw_ct_slice, draw_radiograph
from textseg.text.finding import ZONES, Finding
from textseg.text.sentence import canonical

MASKS = "exact_masks"
CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
UID_ROOT = "2.25."
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
    with (folder / "prompts.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "prompt", "modality"))
        table.writerows(prompts)
    return [folder / name for name, _, _ in prompts]


def _write_radiograph(path: Path, phantom: Phantom, seed: int) -> None:
    if path.suffix == ".dcm":
        _write_cr(path, phantom.image, seed)
    else:
        flat = path.suffix == ".png"
        image = sitk.GetImageFromArray(phantom.image if flat else phantom.image[None])
        if not flat:
            image.SetSpacing((0.8, 0.8, 1.0))
        sitk.WriteImage(image, str(path))


def _write_ct(folder: Path) -> None:
    drawn = [draw_ct_slice(("left", "right"), i / (CT_SLICES - 1), seed=100 + i) for i in range(CT_SLICES)]
    image = sitk.GetImageFromArray(np.stack([values for values, _ in drawn]))
    image.SetSpacing(CT_SPACING)
    image.SetOrigin((-180.0, -170.0, -95.0))
    sitk.WriteImage(image, str(folder / CT_NAME))
    mask_path = folder / MASKS / CT_NAME
    _write_mask(mask_path, folder / CT_NAME, np.stack([mask for _, mask in drawn]))


def _write_mask(path: Path, picture: Path, masks: np.ndarray) -> None:
    """The mask on the picture's own grid (drawn pictures lie in the file as they are displayed)."""
    source = sitk.ReadImage(str(picture))
    image = sitk.GetImageFromArray(masks)
    if source.GetDimension() == 3:
        image.CopyInformation(source)
    sitk.WriteImage(image, str(path), useCompression=True)


def _write_cr(path: Path, image: np.ndarray, seed: int) -> None:
    """A minimal DICOM CR, 12 bits stored, MONOCHROME2."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CR_STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(UID_ROOT, [f"textseg instance {seed}"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.is_little_endian, data.is_implicit_VR = True, False
    data.SOPClassUID, data.SOPInstanceUID = CR_STORAGE, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = generate_uid(UID_ROOT, [f"textseg study {seed}"])
    data.SeriesInstanceUID = generate_uid(UID_ROOT, [f"textseg series {seed}"])
    data.Modality, data.BodyPartExamined, data.ViewPosition = "CR", "CHEST", "PA"
    data.PatientName, data.PatientID = "Phantom^Drawn", f"drawn-{seed}"
    data.PatientOrientation = ["L", "F"]
    data.Rows, data.Columns = image.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.ImagerPixelSpacing = [0.5, 0.5]
    data.PixelData = (image.astype(np.uint16) * 16).tobytes()
    data.save_as(str(path), write_like_original=False)
