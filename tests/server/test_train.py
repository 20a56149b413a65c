"""Retraining as Slicer and OHIF start it: labels in, a verdict out, requests answered, nothing left behind."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import requests
import SimpleITK as sitk
from PIL import Image

from harness import Server
from textseg.data.phantoms import draw_radiograph
from textseg.learning.retrain import alone
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.text.sentence import canonical

SPEC = model_spec(DEFAULT_MODEL)
PLACES = (
    {"left": ("lower",)},
    {"right": ("upper",)},
    {"left": ("upper",), "right": ("lower",)},
    {"right": ("middle",)},
)
NAMES = ("kilo", "lima", "mike", "november")
PROMPTS = ("infection, left lung", "infection, right lung")
PATIENCE = 400  # seconds


def drawn(folder: Path) -> dict[str, np.ndarray]:
    """Pictures in a studies folder with their prompts; name -> exact mask."""
    masks, lines = {}, ["image,prompt"]
    for number, (name, places) in enumerate(zip(NAMES, PLACES, strict=True)):
        phantom = draw_radiograph(places, 700 + number, 160)
        Image.fromarray(phantom.image).save(folder / f"{name}.png")
        masks[name] = phantom.mask
        lines.append(f'{name},"{canonical(phantom.finding)}"')
    (folder / "prompts.csv").write_text("\n".join(lines) + "\n")
    return masks


def submit(server: Server, folder: Path, name: str, mask: np.ndarray) -> dict[str, Any]:
    """A label as Slicer sends it; the reply."""
    file = folder / f"{name}.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(mask[None].astype(np.uint8)), str(file))
    label = {"label_info": [{"name": "infection", "idx": 1}]}
    return server.client(folder).save_label(name, str(file), params=label)


@pytest.fixture(scope="module")
def running(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on four drawn pictures, all labelled."""
    folder = tmp_path_factory.mktemp("studies")
    masks = drawn(folder)
    server = start_server(folder)
    for name, mask in masks.items():
        submit(server, tmp_path_factory.mktemp("sent"), name, mask)
    yield server
    server.client(folder).train_stop()


def started(server: Server, folder: Path, **changed: Any) -> dict[str, Any]:
    """Slicer's Train: every option of /info, drop-downs by their first entry."""
    client = server.client(folder)
    config = client.info()["trainers"][DEFAULT_MODEL]["config"]
    first = {key: value[0] if isinstance(value, list) else value for key, value in config.items()}
    return client.train_start(DEFAULT_MODEL, {**first, "max_epochs": 1, **changed})


def wait_until(holds: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What `holds` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.3)
    pytest.fail("it did not come true in time")


def running_task(server: Server) -> bool:
    """Whether a training runs, as Slicer asks every five seconds."""
    return requests.get(f"{server.url}/train/", params={"check_if_running": True}, timeout=60).status_code == 200


def test_labels_are_learnt_from_while_requests_are_answered(running, tmp_path):
    begun = started(running, tmp_path)
    assert begun["status"] == "SUBMITTED"
    again = requests.post(f"{running.url}/train/{DEFAULT_MODEL}", json={}, timeout=60)
    assert again.status_code == 429
    wrong, over = [], threading.Event()

    def ask(prompt: str) -> None:
        folder = tmp_path / prompt[-10:-5].strip()
        folder.mkdir()
        while not over.is_set():
            mask, reply = running.infer(folder, "mike", prompt=prompt)
            if reply["prompt"] != prompt or not sitk.GetArrayFromImage(mask).any():
                wrong.append((prompt, reply["prompt"]))

    askers = [threading.Thread(target=ask, args=(prompt,), daemon=True) for prompt in PROMPTS]
    for asker in askers:
        asker.start()
    wait_until(lambda: not running_task(running))
    over.set()
    for asker in askers:
        asker.join(60)
    assert not wrong
    task = requests.get(f"{running.url}/train/", timeout=60).json()
    assert task["status"] == "DONE", task["details"]
    stats = running.client(tmp_path).info()["train_stats"][DEFAULT_MODEL]
    assert (stats["epoch"], stats["total_epochs"], stats["state"]) == (1, 1, "done")
    assert 0 < stats["best_metric"] <= 1 and stats["total_time"].count(":") == 2
    assert stats["verdict"] == task["train_stats"]["verdict"] and stats["verdict"].startswith(
        ("published v", "kept v0")
    )
    assert any(stats["verdict"] in line for line in task["details"])
    versions = Versions(running.app / "model" / DEFAULT_MODEL, SPEC)
    assert versions.verdicts()[-1].sentence == stats["verdict"]
    assert running.infer(tmp_path, "kilo", prompt=PROMPTS[0])[1]["model_version"] == versions.served().version


def test_a_training_is_stopped_and_says_so(running, tmp_path):
    before = Versions(running.app / "model" / DEFAULT_MODEL, SPEC).served().version
    started(running, tmp_path, max_epochs=1000)
    stats = lambda: running.client(tmp_path).info()["train_stats"][DEFAULT_MODEL]  # noqa: E731
    wait_until(lambda: stats()["state"] == "training" and stats()["total_epochs"] == 1000)
    assert running.client(tmp_path).train_stop()["status"] == "STOPPED"
    assert wait_until(lambda: stats()["state"] == "stopped" and stats()["verdict"]).startswith("not trained")
    assert Versions(running.app / "model" / DEFAULT_MODEL, SPEC).served().version == before
    with alone(running.app / "model" / DEFAULT_MODEL / "runs"):
        pass  # the lock is free again


@pytest.mark.parametrize(
    ("params", "said"),
    [({"max_epochs": 0}, "max_epochs"), ({"max_epochs": "many"}, "max_epochs"), ({"publish": 1}, "publish")],
)
def test_options_that_cannot_be_start_nothing(running, params, said):
    answer = requests.post(f"{running.url}/train/{DEFAULT_MODEL}", json=params, timeout=60)
    assert answer.status_code == 422 and said in answer.json()["detail"]


def test_a_training_ends_with_its_server(start_server, tmp_path):
    studies = tmp_path / "studies"
    studies.mkdir()
    masks = drawn(studies)
    server = start_server(studies)
    submit(server, tmp_path, "kilo", masks["kilo"])
    submit(server, tmp_path, "lima", masks["lima"])
    started(server, tmp_path, max_epochs=1000)
    wait_until(lambda: server.client(tmp_path).info()["train_stats"][DEFAULT_MODEL].get("state") == "training")
    children = psutil.Process(server.process.pid).children(recursive=True)
    trainers = [child for child in children if "train" in child.cmdline()]
    assert trainers
    server.process.kill()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in trainers), 30)
    assert Versions(server.app / "model" / DEFAULT_MODEL, SPEC).served().version == "v0000"


def test_a_mask_on_the_other_side_is_told_and_kept(running, tmp_path):
    mask = np.zeros((160, 160), np.uint8)
    mask[60:90, 30:60] = 1  # the patient's right
    reply = submit(running, tmp_path, "kilo", mask)
    (warning,) = [sentence for sentence in reply["warnings"] if "no model learns" in sentence]
    assert "left" in warning and "right" in warning
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(running.studies / "labels" / "final" / "kilo.nii.gz"))).any()
