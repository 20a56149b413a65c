"""A restart or a reload of the server costs nothing: prompts, labels and what a viewer was given are as before."""

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException
from PIL import Image

from harness import Server, start
from slicer import Slicer
from textseg.data.phantoms import draw_radiograph
from textseg.data.store.store import Store
from textseg.registry import DEFAULT_MODEL

LEFT = "Unilateral pulmonary infection, one infected area, lower left lung"
RIGHT = "RLL consolidation"
UPPER = "Infiltrate in the right upper lobe"
SAMPLES = ("kilo", "lima", "mike", "november", "oscar", "papa")
SIDE = 128  # pixels
PATIENCE = 60  # seconds
INFECTION = {"label_info": [{"name": "infection", "idx": 1}]}


def draw(path: Path, seed: int) -> Path:
    """A small radiograph, another for every seed."""
    Image.fromarray(draw_radiograph({"left": ("lower",), "right": ("upper",)}, seed, SIDE).image).save(path)
    return path


def block(corner: int) -> np.ndarray:
    """A label's voxels: a block, elsewhere for every corner."""
    values = np.zeros((1, SIDE, SIDE), np.uint8)
    values[0, corner : corner + 9, corner + 20 : corner + 33] = 1
    return values


def voxels(file: Path | str) -> np.ndarray:
    """What a label file holds."""
    return sitk.GetArrayFromImage(sitk.ReadImage(str(file)))


def submit(client: MONAILabelClient, folder: Path, image: str, corner: int) -> dict[str, Any]:
    """A person's label whose one segment has the name that Slicer gives it."""
    file = folder / f"{image}-{corner}.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(block(corner)), str(file))
    return client.save_label(image, str(file), params=dict(INFECTION))


def ask(client: MONAILabelClient, image: str, prompt: str, **more: Any) -> dict[str, Any]:
    """The reply to a run."""
    return client.infer(DEFAULT_MODEL, image, {"prompt": prompt, **more})[1]


@dataclass
class Work:
    """One studies folder, its present server, and what was acknowledged before the restart."""

    server: Server
    folder: Path
    before: dict[str, dict[str, Any]] = field(default_factory=dict)
    window: Slicer | None = None

    @property
    def client(self) -> MONAILabelClient:
        return self.server.client(self.folder)

    @property
    def store(self) -> Store:
        return Store(self.server.studies)

    def somebody(self, name: str) -> MONAILabelClient:
        """Another client at the same address."""
        return MONAILabelClient(self.server.url, tmpdir=str(self.folder), client_id=name)

    def has_label(self, image: str, tag: str = "final") -> bool:
        """True when the server offers that label."""
        answer = requests.head(f"{self.server.url}/datastore/label", params={"image": image, "tag": tag})
        assert answer.status_code in (200, 404)
        return answer.status_code == 200

    def reload(self) -> requests.Response:
        """The app built anew."""
        return requests.post(f"{self.server.url}/reload", timeout=PATIENCE)

    def trashed(self, image: str, name: str) -> list[Path]:
        """Files of that name in the picture's trash."""
        return list((self.server.studies / ".textseg" / "trash" / image).rglob(name))

    def restart(self, meanwhile: Callable[[Path], None]) -> None:
        """Terminate the server, change the studies, start another one on them."""
        self.server.process.terminate()
        self.server.process.wait(PATIENCE)
        meanwhile(self.server.studies)
        self.server = start(self.server.studies, (), self.folder)


def given_a_picture(server: Server, folder: Path, name: str) -> Slicer:
    """A Slicer window that asked LEFT of one picture, and was given the next one, on which nothing has run yet."""
    window = Slicer(server, folder, client_id=name)
    window.connect()
    window.next_sample()
    window.type(LEFT)
    window.run()
    window.submit()  # labelled, it is offered to nobody any more
    sample = window.client.next_sample("random", {})
    window.open(sample["id"], sample["path"])
    return window


def assert_carried_over(work: Work, window: Slicer) -> None:
    """The run that Slicer starts by itself is not taken for what a person asked of the picture; the next one is."""
    window.client.set_server_url(work.server.url)
    reply = window.run()
    assert window.options["prompt"] == LEFT and (reply["prompt_source"], reply["prompt"]) == ("none", "")
    assert work.store.history(window.image).remembered is None
    reply = window.run()
    assert (reply["prompt_source"], reply["prompt"]) == ("typed", LEFT)
    window.submit()


def old_index(studies: Path) -> Path:
    """What a stock MONAI Label server leaves beside the pictures: it knows of no label."""
    path = studies / "datastore_v2.json"
    objects = {"labelled": {"image": {"ext": ".png", "info": {}}, "labels": {}}}
    path.write_text(json.dumps({"name": "", "description": "", "objects": objects}))
    return path


def tidy_up(studies: Path) -> None:
    """Take away what can be made again, and touch every label."""
    old_index(studies).unlink()
    shutil.rmtree(studies / ".textseg" / "delivered", ignore_errors=True)
    for label in (studies / "labels").rglob("*.nii.gz"):
        data = label.read_bytes()
        label.write_bytes(data)
        os.utime(label)


def work_before_the_restart(work: Work) -> None:
    """What people did on the first server."""
    client = work.client
    work.window = given_a_picture(work.server, work.folder, "carries over")
    for name in ("asked", "labelled", "swapped"):
        draw(work.server.studies / f"{name}.png", seed=sum(name.encode()))
    work.before["asked"] = ask(client, "asked", RIGHT)
    for prompt, corner in ((LEFT, 3), (RIGHT, 50)):
        ask(client, "labelled", prompt)
        work.before[f"labelled {corner}"] = submit(client, work.folder, "labelled", corner)
    ask(client, "labelled", RIGHT, save_label=True, result_extension=".nii.gz")
    ask(client, "swapped", RIGHT)
    for name in ("asked", "swapped"):
        submit(client, work.folder, name, 7)
    session = client.create_session(str(draw(work.folder / "of_a_session.png", seed=77)))["session_id"]
    client.infer(DEFAULT_MODEL, "", {"prompt": UPPER}, session_id=session)
    work.before["session"] = work.somebody("of the session").create_session(str(work.folder / "of_a_session.png"))


def change_meanwhile(studies: Path) -> None:
    """While no server runs: tidy up, and copy another picture over one of them."""
    tidy_up(studies)
    draw(studies / "swapped.png", seed=1000)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """Work of people before and after a restart."""
    studies, folder = tmp_path_factory.mktemp("studies"), tmp_path_factory.mktemp("server")
    for seed, name in enumerate(SAMPLES):
        draw(studies / f"{name}.png", seed)
    index = old_index(studies)
    work = Work(start(studies, (), folder), folder)
    try:
        work_before_the_restart(work)
        assert index.exists()
        work.restart(change_meanwhile)
        yield work
    finally:
        work.server.process.terminate()
        work.server.process.wait(PATIENCE)


def assert_all_kept(work: Work) -> None:
    """Picture, prompt and label are joined as they were; both versions of the label are whole."""
    blank = ask(work.client, "asked", "")
    assert (blank["prompt_source"], blank["prompt"]) == ("remembered", RIGHT)
    assert blank["finding"] == work.before["asked"]["finding"]
    listed = work.client.datastore()["objects"]["labelled"]["labels"]
    assert set(listed) == {"final", "original"}
    where = {"label": "labelled", "tag": "final"}
    info = requests.get(f"{work.server.url}/datastore/label/info", params=where).json()
    for told in (listed["final"]["info"], info):
        assert (told["number"], told["by"]) == (2, "person")
        assert [segment["prompt"] for segment in told["segments"]] == [RIGHT]
    assert np.array_equal(voxels(work.client.download_label("labelled", "final")), block(50))
    first, second = work.store.label_versions("labelled", "final")
    for version, corner, prompt in ((first, 3, LEFT), (second, 50, RIGHT)):
        file = work.store.label_path("labelled", "final", version)
        assert hashlib.sha256(file.read_bytes()).hexdigest() == version.sha256
        assert np.array_equal(voxels(file), block(corner))
        acknowledged = work.before[f"labelled {corner}"]
        assert [segment.prompt for segment in version.segments] == [prompt]
        assert [segment["prompt"] for segment in acknowledged["segments"]] == [prompt]
        assert acknowledged["version"] == version.number
    picture = requests.get(f"{work.server.url}/datastore/image", params={"image": "labelled"})
    assert picture.content == (work.server.studies / "labelled.png").read_bytes()
    session, client = work.before["session"]["session_id"], work.somebody("of the session")
    assert client.infer(DEFAULT_MODEL, "", {"prompt": LEFT}, session_id=session)[1]["prompt"] == LEFT


def test_everything_outlives_a_restart(work: Work, tmp_path: Path) -> None:
    assert_all_kept(work)


def test_a_text_that_slicer_carries_over_a_restart_is_recognised(work: Work) -> None:
    assert_carried_over(work, work.window)


def test_a_picture_put_in_the_place_of_another_has_none_of_its_prompts_and_labels(work: Work) -> None:
    blank = ask(work.client, "swapped", "")
    assert blank["prompt_source"] == "none" and not work.has_label("swapped")
    assert work.store.history("swapped").remembered is None
    assert any(RIGHT in path.read_text() for path in work.trashed("swapped", "prompts.jsonl"))
    assert len(work.trashed("swapped", "000001.nii.gz")) == 1


def test_a_prompt_of_a_session_reaches_the_label_after_a_restart(work: Work) -> None:
    work.client.upload_image(str(work.folder / "of_a_session.png"), "late")
    reply = submit(work.client, work.folder, "late", 5)
    assert [segment["prompt"] for segment in reply["segments"]] == [UPPER]


def test_what_can_be_made_again_may_be_deleted_while_the_server_runs(work: Work, tmp_path: Path) -> None:
    tidy_up(work.server.studies)
    shown = work.server.studies / "labels" / "final" / "labelled.nii.gz"
    shown.unlink()
    until = time.monotonic() + PATIENCE
    while not shown.exists() and time.monotonic() < until:  # it is put back
        time.sleep(0.1)
    assert_all_kept(work)


def test_everything_outlives_a_reload(work: Work, tmp_path: Path) -> None:
    window = given_a_picture(work.server, tmp_path, "reloads")
    assert work.reload().status_code == 200
    assert_all_kept(work)
    assert_carried_over(work, window)


def test_of_two_reloads_at_once_one_is_done_and_the_other_told_to_wait(work: Work, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: work.reload(), range(2)))
    assert 200 in [answer.status_code for answer in answers]
    for refused in [answer for answer in answers if answer.status_code != 200]:
        assert refused.status_code == 429 and "Wait" in refused.json()["detail"]
    assert_all_kept(work)


def test_runs_and_labels_during_a_reload_are_all_answered_and_kept(work: Work, tmp_path: Path) -> None:
    names = [f"busy_{letter}" for letter in "abc"]
    for seed, name in enumerate(names):
        draw(work.server.studies / f"{name}.png", seed)
    reloaded = threading.Event()
    counts: list[int] = []

    def worked(name: str) -> None:
        client, number = work.somebody(name), 0
        while not reloaded.is_set() or number < 3:
            number += 1
            prompt = f"{LEFT} ({name[-1]} {number})"
            assert ask(client, name, prompt)["prompt"] == prompt
            submitted = submit(client, tmp_path, name, number % 50)
            assert (submitted["version"], submitted["segments"][0]["prompt"]) == (number, prompt)
        counts.append(number)

    with ThreadPoolExecutor(len(names)) as pool:
        running = [pool.submit(worked, name) for name in names]
        try:
            assert work.reload().status_code == 200
        finally:
            reloaded.set()
        for done in running:
            done.result()
    for name in names:
        versions = work.store.label_versions(name, "final")
        assert len(versions) in counts
        until = time.monotonic() + PATIENCE
        while not work.has_label(name) and time.monotonic() < until:
            time.sleep(0.1)
        assert ask(work.client, name, "")["prompt"] == versions[-1].segments[0].prompt
        assert work.client.datastore()["objects"][name]["labels"]["final"]["info"]["number"] == len(versions)


@pytest.mark.parametrize("flat", [True, False])
def test_the_same_picture_sent_again_in_another_format_changes_nothing(work: Work, tmp_path: Path, flat: bool) -> None:
    before = sorted(path.name for path in work.server.studies.iterdir())
    image = sitk.ReadImage(str(work.server.studies / "asked.png"))
    sitk.WriteImage(image if flat else sitk.JoinSeries(image), str(tmp_path / "again.nrrd"))
    assert work.client.upload_image(str(tmp_path / "again.nrrd"), "asked")["image"] == "asked"
    assert sorted(path.name for path in work.server.studies.iterdir()) == before
    assert_all_kept(work)


@pytest.mark.parametrize("suffix", [".png", ".nrrd"])
def test_another_picture_of_that_name_is_refused(work: Work, tmp_path: Path, suffix: str) -> None:
    other = draw(tmp_path / "other.png", seed=99)
    if suffix != ".png":
        sitk.WriteImage(sitk.ReadImage(str(other)), str(tmp_path / f"other{suffix}"))
    with pytest.raises(MONAILabelClientException) as refused:
        work.client.upload_image(str(tmp_path / f"other{suffix}"), "asked")
    assert "Status: 409" in refused.value.msg and "another name" in refused.value.msg
    assert_all_kept(work)


@pytest.mark.parametrize("first", ["infer", "submit", "list"])
def test_a_picture_replaced_while_the_server_runs_starts_anew(work: Work, tmp_path: Path, first: str) -> None:
    name = f"moved_{first}"
    client = work.client
    draw(work.server.studies / f"{name}.png", seed=5)
    ask(client, name, RIGHT)
    submit(client, tmp_path, name, 7)
    draw(work.server.studies / f"{name}.png", seed=6)
    if first == "infer":
        assert ask(client, name, "")["prompt_source"] == "none"
        assert not work.has_label(name)
    elif first == "submit":
        reply = submit(client, tmp_path, name, 9)
        assert [segment["prompt"] for segment in reply["segments"]] == [""]
        assert [version.number for version in work.store.label_versions(name, "final")] == [1]
    else:
        until = time.monotonic() + 10
        while work.has_label(name) and time.monotonic() < until:
            time.sleep(0.1)
        assert not work.has_label(name)
        assert "final" not in client.datastore()["objects"][name]["labels"]
    assert any(RIGHT in path.read_text() for path in work.trashed(name, "prompts.jsonl"))
    assert len(work.trashed(name, "000001.nii.gz")) == 1


def test_a_picture_copied_over_itself_keeps_everything(work: Work, tmp_path: Path) -> None:
    picture = work.server.studies / "asked.png"
    picture.write_bytes(picture.read_bytes())
    os.utime(picture)
    assert_all_kept(work)


def test_the_prompt_of_a_session_belongs_to_the_label_of_its_picture_and_client(work: Work, tmp_path: Path) -> None:
    file = draw(tmp_path / "mine.png", seed=55)
    asker, other = work.somebody("asker"), work.somebody("other")
    session = asker.create_session(str(file))["session_id"]
    asker.infer(DEFAULT_MODEL, "", {"prompt": UPPER}, session_id=session)
    asker.upload_image(str(file), "uploaded")
    draw(tmp_path / "elsewhere.png", seed=56)
    asker.upload_image(str(tmp_path / "elsewhere.png"), "elsewhere")
    prompts = [
        [segment["prompt"] for segment in submit(client, tmp_path, image, 11)["segments"]]
        for client, image in ((other, "uploaded"), (asker, "elsewhere"), (asker, "uploaded"))
    ]
    assert prompts == [[""], [""], [UPPER]]
    assert ask(asker, "uploaded", "")["prompt"] == UPPER
