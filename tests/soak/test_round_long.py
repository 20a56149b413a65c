"""One round of active learning over HTTP: Next Sample, correct, submit, train; what serves then chooses again."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness import Server
from slicer import Slicer
from training import PLACES, begin, draw, runs, stats, versions_of, wait_until


def test_a_round(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    folder = tmp_path_factory.mktemp("studies")
    masks = draw(folder)
    server = start_server(folder, "--conf", "scoring", "on")
    window = Slicer(server, tmp_path)
    window.connect()
    wait_until(lambda: f"{len(PLACES)} of {len(PLACES)} pictures are scored" in server.log.read_text())
    scores = []
    for _ in list(PLACES)[1:]:
        sample = window.next_sample()
        scores.append(sample["score"])
        assert window.reply["prompt_source"] == "csv" and window.reply["prompt"] == sample["prompt"]
        window.segments[window.segment] = masks[sample["id"]][None] > 0
        assert window.submit()["segments"][0]["prompt"] == sample["prompt"]
    assert None not in scores
    begin(server, tmp_path)
    wait_until(lambda: stats(server).get("state") == "done" and not runs(server))
    assert stats(server)["told"] == f"{len(PLACES) - 1} corrections"
    served = versions_of(server).served().version
    if served != "v0000":
        wait_until(lambda: f"1 of 1 pictures are scored by {served}" in server.log.read_text())
    sample = window.next_sample()
    assert sample["id"] not in scores and sample["score"] is not None
    assert window.reply["model_version"] == served
