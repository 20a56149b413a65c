"""Laterality through the whole server: patient and picture sides are mirror images, however the picture is stored."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from harness import Server
from textseg.data.dicom_files import write_radiograph
from textseg.data.phantoms import draw_radiograph

PROMPT = "Patchy consolidation in the left lower zone, right lung clear."
PLACES = {"left": ("lower",), "right": ("lower",)}
STORED = ("LPS", "RAS", "RPI", "LSA", "PLI", "ARS")


def symmetric() -> np.ndarray:
    drawn = draw_radiograph(PLACES, seed=5, size=320).image.astype(np.uint16)
    return ((drawn + drawn[:, ::-1]) // 2).astype(np.uint8)


@pytest.fixture(scope="module")
def pictures(server: Server) -> Server:
    """One symmetric chest: as PNG, as CR in two orientations, as NIfTI slice in several axis orders."""
    grey = symmetric()
    Image.fromarray(grey).save(server.studies / "sides_png.png")
    write_radiograph(server.studies / "sides_standard.dcm", grey, "sides_standard")
    mirrored = np.ascontiguousarray(grey[:, ::-1])
    write_radiograph(server.studies / "sides_mirrored.dcm", mirrored, "sides_mirrored", PatientOrientation=["R", "F"])
    for code in STORED:
        slice_ = sitk.GetImageFromArray(grey[None])
        slice_.SetSpacing((0.9, 0.9, 3.0))
        sitk.WriteImage(sitk.DICOMOrient(slice_, code), str(server.studies / f"sides_{code.lower()}.nii.gz"))
    return server


def shown(mask: sitk.Image, name: str) -> np.ndarray:
    """The mask in standard display: the patient's left on the right."""
    if name == "sides_mirrored":
        return sitk.GetArrayFromImage(mask)[0, :, ::-1] > 0
    return sitk.GetArrayFromImage(sitk.DICOMOrient(mask, "LPS"))[0] > 0


@pytest.mark.parametrize(
    "name", ["sides_png", "sides_standard", "sides_mirrored", *(f"sides_{code.lower()}" for code in STORED)]
)
def test_the_same_words_in_patient_and_picture_sides_give_mirrored_masks(
    pictures: Server, tmp_path: Path, name: str
) -> None:
    patient, reply = pictures.infer(tmp_path, name, prompt=PROMPT, modality="xray")
    picture, turned = pictures.infer(tmp_path, name, prompt=PROMPT, modality="xray", laterality="picture")
    left, right = shown(patient, name), shown(picture, name)
    width = left.shape[1]
    assert left[:, width // 2 :].sum() >= 0.98 * left.sum() > 0
    assert right[:, : width // 2].sum() >= 0.98 * right.sum() > 0
    assert 2 * (left & right[:, ::-1]).sum() >= 0.7 * (left.sum() + right.sum())
    assert (reply["finding"]["left"], reply["finding"]["absent_right"]) == (["lower"], True)
    assert (turned["finding"]["right"], turned["finding"]["absent_left"]) == (["lower"], True)
    assert next(iter(reply["label_names"])).startswith("infection L lower")
    assert next(iter(turned["label_names"])).startswith("infection R lower")
