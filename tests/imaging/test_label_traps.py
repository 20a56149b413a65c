"""Labels that once landed turned, moved or with values lost, and are refused or laid rightly now."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from test_labels import FLAT, VOLUME, centred, flat_picture, image_of, moved, written

from textseg.data.dicom_files import write_radiograph
from textseg.errors import DataError
from textseg.imaging.labels import read_label
from textseg.imaging.read import read_picture

FLAT_FILES = ["chest.png", "chest.jpg", "dpi.jpg", "chest.dcm"]
NOT_ITS_PLACE = "does not lie on its picture"


def refused(label: Path, picture, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_label(label, picture)


@pytest.mark.parametrize("name", FLAT_FILES)
def test_axes_in_ras_stored_from_the_far_end_are_not_taken_by_index(tmp_path, name):
    picture = flat_picture(tmp_path / name)
    lps = nib.Nifti1Image(FLAT.T, np.diag([-0.7, -0.7, 1, 1]))
    nib.save(nib.as_closest_canonical(lps), tmp_path / "label.nii.gz")
    refused(tmp_path / "label.nii.gz", picture, NOT_ITS_PLACE)
    turned = sitk.DICOMOrient(centred(picture.grid.image(FLAT)), "RAS")
    refused(written(turned, tmp_path / "label.nrrd"), picture, NOT_ITS_PLACE)


@pytest.mark.parametrize("name", FLAT_FILES)
@pytest.mark.parametrize("voxels", [(0.5, 0, 0), (3, 0, 0), (500, -900, 0)])
def test_a_label_moved_off_a_flat_picture_is_refused(tmp_path, name, voxels):
    picture = flat_picture(tmp_path / name)
    refused(written(moved(picture.grid.image(FLAT), *voxels), tmp_path / "label.nrrd"), picture, NOT_ITS_PLACE)


@pytest.mark.parametrize("voxels", [(0.5, 0, 0), (0.9, 0.7, 0.2), (1, 0, 0)])
def test_a_label_moved_off_a_centred_volume_is_refused(tmp_path, voxels):
    image = centred(image_of(VOLUME))
    picture = read_picture(written(image, tmp_path / "ct.nrrd"))
    refused(written(moved(image, *voxels), tmp_path / "label.nrrd"), picture, NOT_ITS_PLACE)


def test_a_flat_label_says_nothing_of_its_slice_and_is_refused_for_a_volume(tmp_path):
    image = sitk.GetImageFromArray(VOLUME)
    picture = read_picture(written(image, tmp_path / "ct.nii.gz"))
    affine = nib.load(tmp_path / "ct.nii.gz").affine.copy()
    affine[2, 3] = 3
    nib.save(nib.Nifti1Image(VOLUME[3].T, affine), tmp_path / "label.nii.gz")
    refused(tmp_path / "label.nii.gz", picture, NOT_ITS_PLACE)


def test_dicom_and_lossy_files_are_no_labels(tmp_path):
    picture = flat_picture(tmp_path / "chest.png")
    write_radiograph(tmp_path / "label.dcm", FLAT[0].astype(np.uint8), "label")
    refused(tmp_path / "label.dcm", picture, "label.dcm cannot be a label. Save it as one of .png, .nii")
    Image.fromarray(FLAT[0].astype(np.uint8)).save(tmp_path / "label.jpg")
    refused(tmp_path / "label.jpg", picture, "label.jpg cannot be a label")


@pytest.mark.parametrize("layers", [2, 3, 4])
def test_overlapping_segments_are_refused_and_not_mixed_into_one_brightness(tmp_path, layers):
    image = image_of(VOLUME)
    picture = read_picture(written(image, tmp_path / "ct.nrrd"))
    stacked = np.stack([(1, 2, 300, 300)[layer] == VOLUME for layer in range(layers)], -1).astype(np.uint8)
    label = sitk.GetImageFromArray(stacked, isVector=True)
    label.CopyInformation(image_of(VOLUME))
    with pytest.raises(Exception, match=rf"label\.seg\.nrrd has {layers} (layers|values per pixel)"):
        read_label(written(label, tmp_path / "label.seg.nrrd"), picture)


def test_a_coloured_mask_is_refused_and_a_grey_one_in_three_channels_is_read(tmp_path):
    picture = flat_picture(tmp_path / "chest.png")
    grey = np.repeat((FLAT[0] > 0).astype(np.uint8)[..., None] * 255, 3, axis=2)
    Image.fromarray(grey).save(tmp_path / "mask.png")
    assert np.array_equal(read_label(tmp_path / "mask.png", picture) == 255, FLAT > 0)
    grey[0, 0] = 0, 0, 1
    Image.fromarray(grey).save(tmp_path / "mask.png")
    refused(tmp_path / "mask.png", picture, "mask.png has 3 layers or colours. Save one layer")


@pytest.mark.parametrize("value", [65536, 2**32, 1e20])
def test_values_beyond_65535_are_no_labels(tmp_path, value):
    picture = flat_picture(tmp_path / "chest.png")
    label = picture.grid.image(np.where(FLAT == 2, np.float64(value), FLAT))
    refused(written(label, tmp_path / "label.nrrd"), picture, "no labels: whole numbers from 0 to 65535")


def test_a_filler_position_in_a_radiograph_places_it_nowhere(tmp_path):
    filler = {"ImagePositionPatient": [0, 0, 0], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    picture = flat_picture(tmp_path / "chest.dcm", **filler)
    Image.fromarray(FLAT[0].astype(np.uint8)).save(tmp_path / "mask.png")
    assert not picture.placed
    assert np.array_equal(read_label(tmp_path / "mask.png", picture), FLAT.astype(np.uint8))
