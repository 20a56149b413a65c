"""Retraining as Slicer and OHIF start it: labels in, a verdict out, requests answered, nothing left behind."""

from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
import requests
import SimpleITK as sitk

from harness import Server
from textseg.cli import main
from textseg.learning.retrain import alone
from textseg.registry import DEFAULT_MODEL
from training import assert_answers_meanwhile, begin, draw, runs, stats, submit, versions_of, wait_until


@pytest.fixture(scope="module")
def running(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server on drawn pictures, all labelled."""
    folder = tmp_path_factory.mktemp("studies")
    masks = draw(folder)
    server = start_server(folder)
    for name, mask in masks.items():
        submit(server, tmp_path_factory.mktemp("sent"), name, mask)
    yield server
    server.client(folder).train_stop()


def trainings_of(server: Server) -> list[psutil.Process]:
    """The processes in which it trains."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    return [child for child in children if "train" in child.cmdline()]


def test_labels_are_learnt_from_while_requests_are_answered(running, tmp_path, capsys):
    assert begin(running, tmp_path)["status"] == "SUBMITTED"
    again = requests.post(f"{running.url}/train/{DEFAULT_MODEL}", json={}, timeout=60)
    assert again.status_code == 429 and "Wait for it, or stop it" in again.json()["detail"]
    wait_until(lambda: stats(running).get("state") == "training")
    (training,) = trainings_of(running)
    assert training.nice() > psutil.Process(running.process.pid).nice()
    assert_answers_meanwhile(running, tmp_path, 10)
    wait_until(lambda: not runs(running))
    task = requests.get(f"{running.url}/train/", timeout=60).json()
    assert task["status"] == "DONE", task["details"]
    told = stats(running)
    assert (told["epoch"], told["total_epochs"], told["state"]) == (1, 1, "done")
    assert 0 < told["best_metric"] <= 1 and told["total_time"].count(":") == 2
    assert told["told"] == "4 corrections" and told["left_out"] == []
    verdict = told["verdict"]
    assert verdict.startswith(("published v0001: ", "kept v0000: "))
    assert task["train_stats"]["verdict"] == verdict and any(verdict in line for line in task["details"])
    assert verdict in running.log.read_text()
    assert main(["versions", "--app", str(running.app)]) == 0
    assert verdict in capsys.readouterr().out
    version = versions_of(running).served().version
    assert running.infer(tmp_path, "kilo", prompt="infection, left lung")[1]["model_version"] == version


def test_a_training_is_stopped_and_says_so(running, tmp_path):
    before = versions_of(running).served().version
    begin(running, tmp_path, max_epochs=1000)
    wait_until(lambda: stats(running)["state"] == "training" and stats(running)["total_epochs"] == 1000)
    assert running.client(tmp_path).train_stop()["status"] == "STOPPED"
    assert wait_until(lambda: stats(running)["state"] == "stopped" and stats(running)["verdict"]).startswith(
        "not train"
    )
    assert versions_of(running).served().version == before
    with alone(running.app / "model" / DEFAULT_MODEL / "runs"):
        pass  # the lock is free again


@pytest.mark.parametrize(
    ("params", "said"),
    [({"max_epochs": 0}, "max_epochs"), ({"max_epochs": "many"}, "max_epochs"), ({"publish": 1}, "publish")],
)
def test_options_that_cannot_be_start_nothing(running, params, said):
    answer = requests.post(f"{running.url}/train/{DEFAULT_MODEL}", json=params, timeout=60)
    assert answer.status_code == 422 and said in answer.json()["detail"]


def test_what_another_process_trains_is_not_trained_beside_it(running, tmp_path):
    before = stats(running)
    with alone(running.app / "model" / DEFAULT_MODEL / "runs"):
        begin(running, tmp_path)
        wait_until(lambda: not runs(running))
    task = requests.get(f"{running.url}/train/", timeout=60).json()
    assert task["status"] == "ERROR" and any("runs already" in line for line in task["details"])
    assert stats(running) == before


def test_a_mask_on_the_other_side_is_told_and_kept(running, tmp_path):
    mask = np.zeros((208, 208), np.uint8)
    mask[60:90, 30:60] = 1  # the patient's right; the left was asked for
    reply = submit(running, tmp_path, "november", mask)
    (warning,) = [sentence for sentence in reply["warnings"] if "no model learns" in sentence]
    assert "left" in warning and "right" in warning
    kept = sitk.ReadImage(str(running.studies / "labels" / "final" / "november.nii.gz"))
    assert sitk.GetArrayFromImage(kept).any()


@pytest.mark.parametrize("early", [True, False], ids=["while it starts", "while it trains"])
def test_a_training_ends_with_its_server(start_server, tmp_path, early):
    studies = tmp_path / "studies"
    studies.mkdir()
    masks = draw(studies)
    server = start_server(studies)
    for name in ("kilo", "lima"):
        submit(server, tmp_path, name, masks[name])
    begin(server, tmp_path, max_epochs=1000)
    trainings = wait_until(lambda: trainings_of(server))
    if not early:
        wait_until(lambda: stats(server).get("state") == "training")
    server.process.kill()
    wait_until(lambda: not any(child.is_running() and child.status() != "zombie" for child in trainings), 120)
    assert versions_of(server).served().version == "v0000" and not versions_of(server).verdicts()
