"""`make soak`: a training beside two clients that run a hundred times each, with prompts and pictures of their own."""

from pathlib import Path

from harness import start
from training import assert_answers_meanwhile, begin, draw, runs, stats, submit, wait_until

RUNS = 100


def test_a_training_and_many_runs_disturb_each_other_not(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    server = start(studies, (), tmp_path)
    try:
        for name, mask in draw(studies).items():
            submit(server, tmp_path, name, mask)
        begin(server, tmp_path, max_epochs=20)
        wait_until(lambda: stats(server).get("state") == "training")
        assert_answers_meanwhile(server, tmp_path, RUNS)
        assert runs(server)
        server.client(tmp_path).train_stop()
    finally:
        server.process.terminate()
        server.process.wait(30)
