"""What is kept of a picture goes with its pixels, not with its name alone."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fastapi import HTTPException
from PIL import Image

from textseg.data.store.durable import iso_time
from textseg.data.store.history import TYPED, PromptEntry
from textseg.imaging.read import read_picture
from textseg.server.delivery import state_of
from textseg.server.studies import Studies

ENTRY = PromptEntry(iso_time(), "RLL pneumonia", TYPED, segment="infection R lower (patient side)")


def draw(path: Path, grey: int) -> bytes:
    Image.new("L", (32, 24), grey).save(path)
    return path.read_bytes()


def run(studies: Studies, name: str) -> None:
    """As a run on the picture that lies there now."""
    path = studies.picture_path(name)
    picture = read_picture(path)
    mask = np.ones((1, 24, 32), np.uint8)
    studies.keeping.remember_run(name, path, state_of(path).hex(), picture, ENTRY, mask)


def remembered(studies: Studies, name: str) -> str:
    entry = studies.keeping.known(name, studies.picture_path(name)).history.remembered
    return entry.prompt if entry else ""


@pytest.fixture
def studies(tmp_path: Path) -> Studies:
    """One picture with a prompt and a label."""
    draw(tmp_path / "chest.png", 90)
    made = Studies(str(tmp_path), auto_reload=False, read_only=False)
    run(made, "chest")
    label = tmp_path / "sent.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((1, 24, 32), np.uint8)), str(label))
    made.save_label("chest", str(label), "final", {})
    label.unlink()
    return made


def test_another_picture_of_the_name_has_none_of_it_and_the_first_gets_it_back(studies: Studies) -> None:
    path = studies.folder / "chest.png"
    first = path.read_bytes()
    draw(path, 200)
    studies.refresh()
    assert remembered(studies, "chest") == "" and studies.get_labels_by_image_id("chest") == {}
    path.write_bytes(first)
    studies.refresh()
    assert remembered(studies, "chest") == ENTRY.prompt
    assert studies.get_labels_by_image_id("chest") == {"final": "chest"}


def test_a_label_that_came_with_the_new_picture_stays(studies: Studies) -> None:
    draw(studies.folder / "chest.png", 200)
    new = studies.folder / "labels" / "final" / "chest.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.full((1, 24, 32), 2, np.uint8)), str(new))
    studies.refresh()
    assert sitk.ReadImage(studies.get_label_uri("chest", "final"))[0, 0, 0] == 2
    assert remembered(studies, "chest") == ""


def test_a_label_from_before_the_store_belongs_to_the_picture_that_it_lay_beside(tmp_path: Path) -> None:
    draw(tmp_path / "chest.png", 90)
    (tmp_path / "labels" / "final").mkdir(parents=True)
    label = tmp_path / "labels" / "final" / "chest.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(np.ones((1, 24, 32), np.uint8)), str(label))
    studies = Studies(str(tmp_path), auto_reload=False, read_only=False)
    assert studies.get_labels_by_image_id("chest") == {"final": "chest"}
    draw(tmp_path / "chest.png", 200)
    studies.refresh()
    assert studies.get_labels_by_image_id("chest") == {}


def test_of_two_pictures_sent_at_once_under_one_name_one_is_told_of_the_other(studies: Studies, tmp_path: Path) -> None:
    sent = [tmp_path / "sent" / f"{number}.png" for number in range(8)]
    sent[0].parent.mkdir()
    data = [draw(path, 10 * number) for number, path in enumerate(sent)]

    def upload(path: Path) -> bool:
        try:
            return studies.add_image("twin", str(path), {}) == "twin"
        except HTTPException as refused:
            assert refused.status_code == 409
            return False

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(upload, sent))
    assert taken.count(True) == 1
    assert (studies.folder / "twin.png").read_bytes() == data[taken.index(True)]


def test_where_nothing_may_be_written_nothing_is(studies: Studies, tmp_path: Path) -> None:
    closed = Studies(str(studies.folder), auto_reload=False, read_only=True)
    before = sorted(path for path in studies.folder.rglob("*") if path.parent.name != "locks")
    (tmp_path / "sent").mkdir()
    draw(tmp_path / "sent" / "new.png", 5)
    for change in (
        lambda: closed.add_image("new", str(tmp_path / "sent" / "new.png"), {}),
        lambda: closed.remove_image("chest"),
        lambda: closed.remove_label("chest", "final"),
        lambda: closed.save_label("chest", str(tmp_path / "sent" / "new.png"), "final", {}),
    ):
        with pytest.raises(HTTPException) as refused:
            change()
        assert refused.value.status_code == 503 and "cannot be written" in refused.value.detail
    after = sorted(path for path in studies.folder.rglob("*") if path.parent.name != "locks")
    assert [path for path in after if path.is_relative_to(tmp_path / "sent")] and set(before) <= set(after)
    assert closed.get_labels_by_image_id("chest") == {"final": "chest"}
