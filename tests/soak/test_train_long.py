"""`make soak`: a training beside two clients that run a hundred times each; one that begins by itself."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import Server, start
from training import assert_answers_meanwhile, begin, draw, runs, stats, submit, wait_until

RUNS = 100


@contextmanager
def labelled(folder: Path, *conf: str) -> Iterator[Server]:
    """A server on drawn pictures, all labelled since it started."""
    studies = folder / "studies"
    studies.mkdir()
    masks = draw(studies)
    server = start(studies, conf, folder)
    try:
        for name, mask in masks.items():
            submit(server, folder, name, mask)
        yield server
    finally:
        server.client(folder).train_stop()
        server.process.terminate()
        server.process.wait(30)


def test_a_training_and_many_runs_do_not_disturb_each_other(tmp_path: Path) -> None:
    with labelled(tmp_path) as server:
        begin(server, tmp_path, max_epochs=1000)
        wait_until(lambda: stats(server).get("state") == "training")
        assert_answers_meanwhile(server, tmp_path, RUNS)
        assert runs(server)


def test_a_training_begins_by_itself_after_labels_and_a_pause(tmp_path: Path) -> None:
    with labelled(tmp_path, "--conf", "retrain_after", "4") as server:
        assert not runs(server)
        wait_until(lambda: stats(server).get("state") == "training", 120)
        assert stats(server)["total_epochs"] == 5
        assert "a training begins by itself: 4 pictures were labelled" in server.log.read_text()
