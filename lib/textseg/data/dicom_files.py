"""DICOM files of drawn pictures: radiographs and CT series, for the sample studies, the benchmark and the tests."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CR_STORAGE = "1.2.840.10008.5.1.4.1.1.1"
CT_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
UID_ROOT = "2.25."
AXIAL = (1, 0, 0, 0, 1, 0)


def drawn_dicom(pixels: np.ndarray, name: str, modality: str, series: str, bits: int, **tags: Any) -> FileDataset:
    """One uncompressed grey picture (H x W, 8 or 16 bits, signed or not) with `bits` bits stored.

    name and series make the identifiers, so that the same drawing is the same file. tags: further DICOM keywords,
    which may also replace those set here.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT_STORAGE if modality == "CT" else CR_STORAGE
    meta.MediaStorageSOPInstanceUID = generate_uid(UID_ROOT, [f"textseg instance {name}"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset(name, {}, file_meta=meta, preamble=b"\0" * 128)
    data.is_little_endian, data.is_implicit_VR = True, False
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID = generate_uid(UID_ROOT, [f"textseg study {series}"])
    data.SeriesInstanceUID = generate_uid(UID_ROOT, [f"textseg series {series}"])
    data.Modality, data.BodyPartExamined = modality, "CHEST"
    data.PatientName, data.PatientID = "Phantom^Drawn", f"drawn-{series}"
    data.Rows, data.Columns = pixels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit = pixels.itemsize * 8, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    for keyword, value in tags.items():
        setattr(data, keyword, value)
    return data


def write_radiograph(path: Path, pixels: np.ndarray, name: str, **tags: Any) -> None:
    """A frontal CR in standard display; 8-bit brightness is stored in 12 bits."""
    standard = {"ViewPosition": "PA", "PatientOrientation": ["L", "F"], "ImagerPixelSpacing": [0.5, 0.5]}
    data = drawn_dicom(pixels.astype(np.uint16) * 16, name, "CR", name, 12, **{**standard, **tags})
    data.save_as(str(path), write_like_original=False)


def write_ct_series(folder: Path, values: np.ndarray, spacing: tuple[float, float, float], name: str) -> None:
    """Axial Hounsfield units (N x H x W, from the feet up) as one file per slice; spacing: x, y, z in mm."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, slice_ in enumerate(values):
        data = drawn_dicom(
            (slice_ + 1024).astype(np.uint16),
            f"{name} {number}",
            "CT",
            name,
            12,
            ImageOrientationPatient=list(AXIAL),
            ImagePositionPatient=[0, 0, number * spacing[2]],
            PixelSpacing=[spacing[1], spacing[0]],
            SliceThickness=spacing[2],
            RescaleSlope=1,
            RescaleIntercept=-1024,
            InstanceNumber=number + 1,
        )
        data.save_as(str(folder / f"slice_{number:03d}.dcm"), write_like_original=False)
