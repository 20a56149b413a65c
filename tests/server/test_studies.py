"""The studies folder as a datastore: tags stay in it, one label per picture, a bad picture holds nobody up."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from fastapi import HTTPException
from PIL import Image

from harness import Server
from textseg.data.dicom_files import write_ct_series
from textseg.server.studies import Studies

VALUES = np.full((4, 24, 32), -900, np.int16)


@pytest.fixture
def studies(tmp_path: Path) -> Studies:
    """One PNG, one good series, one with a missing slice."""
    Image.new("L", (32, 24), 90).save(tmp_path / "chest.png")
    for name in ("whole", "gap"):
        write_ct_series(tmp_path / name, VALUES, (1, 1, 2), name)
    (tmp_path / "gap" / "slice_002.dcm").unlink()
    return Studies(str(tmp_path), auto_reload=False, read_only=False)


def write_label(path: Path, value: int) -> str:
    sitk.WriteImage(sitk.GetImageFromArray(np.full((1, 24, 32), value, np.uint8)), str(path))
    return str(path)


def test_pictures_and_series_are_listed(studies: Studies) -> None:
    assert sorted(studies.list_images()) == ["chest", "gap", "whole"]


def test_a_series_that_cannot_be_opened_is_left_out_until_it_changes(studies: Studies) -> None:
    with pytest.raises(HTTPException) as refused:
        studies.get_image_uri("gap")
    assert "gap: slices are missing" in refused.value.detail
    assert sorted(studies.get_unlabeled_images()) == ["chest", "whole"]
    assert not (studies.delivery.folder / "gap").exists()
    write_ct_series(studies.folder / "gap", VALUES, (1, 1, 2), "gap")
    assert sorted(studies.get_unlabeled_images()) == ["chest", "gap", "whole"]
    assert sitk.ReadImage(studies.get_image_uri("gap")).GetSize() == (32, 24, 4)


def test_what_was_made_of_a_picture_goes_with_it(studies: Studies) -> None:
    made = Path(studies.get_image_uri("chest"))
    assert made.exists()
    studies.remove_image("chest")
    assert not made.parent.exists() and not (studies.folder / "chest.png").exists()


def test_what_was_made_of_a_series_goes_when_its_folder_is_deleted_by_hand(studies: Studies) -> None:
    made = Path(studies.get_image_uri("whole"))
    shutil.rmtree(studies.folder / "whole")
    studies.refresh()
    assert not made.exists() and "whole" not in studies.list_images()


def test_a_label_of_another_suffix_takes_the_place_of_the_earlier_one(studies: Studies, tmp_path: Path) -> None:
    for value, suffix in enumerate((".nii", ".nii.gz", ".nrrd"), start=1):
        studies.save_label("chest", write_label(tmp_path / f"label{suffix}", value), "final", {})
        (stored,) = (studies.folder / "labels" / "final").iterdir()
        assert stored.name == f"chest{suffix}" and sitk.ReadImage(str(stored))[0, 0, 0] == value
        assert studies.get_label_uri("chest", "final") == str(stored)


@pytest.mark.parametrize("tag", ["../../../escaped", "/tmp/escaped", "", "draft"])
def test_a_tag_names_no_folder_of_its_own(server: Server, tmp_path: Path, tag: str) -> None:
    label = write_label(tmp_path / "label.nii.gz", 1)
    with Path(label).open("rb") as file:
        url = f"{server.url}/datastore/label"
        answer = requests.put(url, params={"image": "xray_alpha", "tag": tag}, files={"label": ("a.nii.gz", file)})
    saved = server.post("xray_alpha", json.dumps({"save_label": True, "label_tag": tag or "../x"}))
    assert saved.status_code == 422 and "tag is one of final, original" in saved.json()["detail"]
    assert answer.status_code in (415, 422) and not list(tmp_path.parent.glob("**/escaped*"))


def test_a_refused_label_is_told_by_its_pictures_name(studies: Studies, tmp_path: Path) -> None:
    sitk.WriteImage(sitk.Image(5, 6, 1, sitk.sitkUInt8), str(tmp_path / "tmp1234.nii.gz"))
    with pytest.raises(HTTPException) as refused:
        studies.save_label("chest", str(tmp_path / "tmp1234.nii.gz"), "final", {})
    assert refused.value.status_code == 422
    assert refused.value.detail.startswith("label_of_chest.nii.gz does not lie on its picture")


def upload(studies: Studies, tmp_path: Path, name: str, grey: int) -> str:
    sent = tmp_path / "sent"
    sent.mkdir(exist_ok=True)
    Image.new("L", (32, 24), grey).save(sent / name)
    return studies.add_image("chest", str(sent / name), {})


def test_an_upload_never_replaces_another_picture(studies: Studies, tmp_path: Path) -> None:
    before = (studies.folder / "chest.png").read_bytes()
    assert upload(studies, tmp_path, "again.png", 90) == "chest"
    for name in ("other.png", "other.jpg"):
        with pytest.raises(HTTPException) as refused:
            upload(studies, tmp_path, name, 200)
        assert refused.value.status_code == 409 and "another picture called chest" in refused.value.detail
    assert (studies.folder / "chest.png").read_bytes() == before
    assert studies.picture_path("chest").name == "chest.png"


def test_what_a_link_points_to_outlives_the_link(tmp_path: Path) -> None:
    originals, folder = tmp_path / "originals", tmp_path / "studies"
    folder.mkdir()
    write_ct_series(originals / "scan", VALUES, (1, 1, 2), "scan")
    Image.new("L", (32, 24), 90).save(originals / "chest.png")
    for name in ("scan", "chest.png"):
        (folder / name).symlink_to(originals / name)
    studies = Studies(str(folder), auto_reload=False, read_only=False)
    for name in ("scan", "chest"):
        studies.remove_image(name)
    assert studies.list_images() == []
    assert (originals / "chest.png").is_file() and len(list((originals / "scan").iterdir())) == 4


def test_of_a_series_folder_only_the_series_is_removed(studies: Studies) -> None:
    (studies.folder / "whole" / "notes.txt").write_text("mine")
    studies.remove_image("whole")
    assert [path.name for path in (studies.folder / "whole").iterdir()] == ["notes.txt"]


def test_a_label_folder_that_links_elsewhere_loses_nothing_there(studies: Studies, tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    reference.mkdir()
    for name in ("chest.nii.gz", "chest.png"):
        (reference / name).write_bytes(b"reference")
    (studies.folder / "labels" / "final" / "chest.nii.gz").symlink_to(reference / "chest.nii.gz")
    studies.save_label("chest", write_label(tmp_path / "label.nii.gz", 1), "final", {})
    assert {path.read_bytes() for path in reference.iterdir()} == {b"reference"}
    assert not (studies.folder / "labels" / "final" / "chest.nii.gz").is_symlink()


def test_a_label_sent_as_png_is_kept_with_its_pictures_grid(studies: Studies, tmp_path: Path) -> None:
    Image.new("L", (32, 24), 1).save(tmp_path / "label.png")
    studies.save_label("chest", str(tmp_path / "label.png"), "final", {})
    assert sitk.ReadImage(str(studies.folder / "labels" / "final" / "chest.nii.gz")).GetSize() == (32, 24, 1)


def test_what_vanishes_or_cannot_be_opened_does_not_stop_the_listing(studies: Studies) -> None:
    (studies.folder / "whole" / "gone.txt").symlink_to("/nonexistent")
    (studies.folder / "._chest.png").write_bytes(b"of another system")
    studies.refresh()
    assert sorted(studies.list_images()) == ["chest", "gap", "whole"]
    assert studies.get_image_info("whole")["path"].endswith(".nrrd")
