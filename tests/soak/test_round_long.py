"""`make soak`: a round of active learning over HTTP; Next Sample, correct, submit, train; what serves chooses again."""

from pathlib import Path

from harness import Server, start
from slicer import Slicer
from training import PLACES, begin, draw, runs, stats, versions_of, wait_until


def test_a_round(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    masks = draw(studies)
    server = start(studies, ("--conf", "scoring", "on"), tmp_path)
    try:
        one_round(server, tmp_path, masks)
    finally:
        server.process.terminate()
        server.process.wait(30)


def one_round(server: Server, folder: Path, masks: dict) -> None:
    """All but one of the pictures."""
    window = Slicer(server, folder)
    window.connect()
    wait_until(lambda: f"{len(PLACES)} of {len(PLACES)} pictures are scored" in server.log.read_text())
    labelled = set()
    for _ in list(PLACES)[1:]:
        sample = window.next_sample()
        labelled.add(sample["id"])
        assert sample["score"] is not None and window.reply["prompt_source"] == "csv"
        assert window.reply["prompt"] == sample["prompt"]
        window.segments[window.segment] = masks[sample["id"]][None] > 0
        assert window.submit()["segments"][0]["prompt"] == sample["prompt"]
    begin(server, folder)
    wait_until(lambda: stats(server).get("state") == "done" and not runs(server))
    assert stats(server)["told"] == f"{len(PLACES) - 1} corrections"
    served = versions_of(server).served().version
    if served != "v0000":
        wait_until(lambda: f"1 of 1 pictures are scored by {served}" in server.log.read_text())
    sample = window.next_sample()
    assert {sample["id"]} == set(PLACES) - labelled and sample["score"] is not None
    assert window.reply["model_version"] == served
