"""`textseg status` as its users see it, and the sentence that says what to do next."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from textseg.choosing.ranking import Ranked
from textseg.choosing.scores import Key, Scored, Scores
from textseg.cli import main
from textseg.data.phantoms import draw_radiograph
from textseg.data.prompts_table import PromptsTable
from textseg.data.store.durable import iso_time
from textseg.data.store.history import PromptEntry
from textseg.data.store.labels import MACHINE, PERSON
from textseg.data.store.store import Store
from textseg.learning.holdout import FILE as HOLD_OUT
from textseg.learning.progress import DONE, FAILED, STOPPED, TRAINING, Progress, ProgressFile
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.server.facts import StudiesFacts
from textseg.server.status import BestPicture, ModelFacts, PictureFacts, Status, TrainingFacts, VerdictFacts

EARLIER, LATER = "2026-01-01T00:00:00.000+00:00", "2999-01-01T00:00:00.000+00:00"
NAMES = ("alpha", "bravo", "charlie", "delta")


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four pictures: alpha labelled, bravo with an `original`; prompts of alpha (table) and charlie (asked)."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "studies"
    folder.mkdir()
    for number, name in enumerate(NAMES):
        Image.fromarray(draw_radiograph({"left": ("lower",)}, number, 64).image).save(folder / f"{name}.png")
    (folder / "prompts.csv").write_text("image,prompt\nalpha,left lung\ndelta,\ngone,left lung\n")
    store = Store(folder)
    store.remember("charlie", entry("typed", "LLL patch", canonical="As it was read."))
    store.remember("bravo", entry("none", ""))
    store.save_label("alpha", "final", b"label", ".nrrd", by=PERSON, time=iso_time())
    store.save_label("bravo", "original", b"label", ".nrrd", by=MACHINE, time=iso_time())
    store.note("alpha", pixels_sha256="a" * 64)
    return folder


def entry(source: str, prompt: str, **more: Any) -> PromptEntry:
    return PromptEntry(iso_time(), prompt, source, segment="infection", **more)


def facts_of(studies: Path) -> StudiesFacts:
    return StudiesFacts(studies, lambda: NAMES, PromptsTable(studies))


def told(capsys: pytest.CaptureFixture, *options: str) -> dict[str, Any]:
    assert main(["status", "--app", "app", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out)


def test_status_is_json_alone_without_torch_and_changes_nothing(studies: Path, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    code = (
        "import sys\nfrom textseg.cli import main\ncode = main(['status', '--app', 'app', '--json'])\n"
        "print(sorted({'torch', 'monai', 'monailabel'} & set(sys.modules)), file=sys.stderr)\nsys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    report = json.loads(done.stdout)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert [(model["name"], model["version"]) for model in report["models"]] == [(DEFAULT_MODEL, "v0000")]
    assert report["pictures"] == {
        "total": 4,
        "labelled": 1,
        "unlabelled": 3,
        "with_prompt": 2,
        "without_prompt": 2,
        "to_prompt": 2,
        "original": 1,
        "labelled_since": 1,
        "held_out": 0,
    }


def test_people_read_what_serves_what_was_said_and_what_to_do(studies: Path, capsys: pytest.CaptureFixture) -> None:
    folder = Path("app/model") / DEFAULT_MODEL
    Versions(folder, model_spec(DEFAULT_MODEL)).reject({"verdict": "kept v0000: worse."})
    left_out = ("alpha: It contradicts its prompt.",)
    ProgressFile(folder).write(
        Progress(5, 5, "0:01:00", state=DONE, verdict="kept v0000: worse.", left_out=left_out, started=LATER)
    )
    assert main(["status", "--app", "app", "--studies", str(studies)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"{DEFAULT_MODEL}: v0000 serves\n  last candidate: v0001, kept back 20")
    assert "  training: done, kept v0000: worse.\n  not trained on: alpha: It contradicts its prompt.\n" in out
    assert "pictures: 4; 1 with a final label (0 since" in out and "prompts: 2 pictures with, 2 without\n" in out
    assert out.splitlines()[-1].startswith("next: The last candidate of")


def test_a_training_that_runs_is_told(studies: Path, capsys: pytest.CaptureFixture) -> None:
    file = ProgressFile(Path("app/model") / DEFAULT_MODEL)
    file.write(Progress(1, 5, "0:00:09", state=TRAINING, started=EARLIER, process=os.getpid()))
    assert main(["status", "--app", "app"]) == 0
    out = capsys.readouterr().out
    assert "  training: training, epoch 1 of 5, 0:00:09\n" in out and "next: " + DEFAULT_MODEL + " is being" in out
    file.write(Progress(1, 5, state=TRAINING, started=EARLIER, process=2**22 + 1))
    assert told(capsys)["models"][0]["training"]["state"] == STOPPED


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--studies", "gone"), 2, "There is no folder gone"),
        (("--app", "gone"), 2, "There is no folder gone"),
        (("unet",), 2, "no model 'unet'"),
    ],
)
def test_what_is_not_there_is_said_in_words(
    studies: Path, capsys: pytest.CaptureFixture, options: tuple[str, ...], code: int, said: str
) -> None:
    Path("app").mkdir()
    defaults = [] if "--app" in options else ["--app", "app"]
    assert main(["status", *defaults, *options]) == code
    assert said in capsys.readouterr().err


def test_a_model_without_weights_and_an_empty_folder_are_no_failure(
    studies: Path, capsys: pytest.CaptureFixture
) -> None:
    Path("app").mkdir()
    shutil.rmtree(studies)
    studies.mkdir()
    report = told(capsys, "tgcam")
    assert report["models"][0]["version"] is None and "textseg train tgcam" in report["next"]
    assert told(capsys)["next"].startswith("There are no pictures yet.")


def test_held_out_pictures_and_faults_are_told(studies: Path) -> None:
    facts, faults = facts_of(studies), []
    held = hashlib.sha256(b"pixels " + b"a" * 64).hexdigest()
    path = studies / ".textseg" / HOLD_OUT
    path.write_text(json.dumps({"schema": 1, "held": {held: EARLIER}, "trained": {}}))
    assert facts.pictures("", faults).held_out == 1 and faults == []
    path.write_text("{cut")
    (studies / "prompts.csv").write_text('image,prompt\nalpha,"left')
    counts = facts.pictures("", faults)
    assert (counts.held_out, counts.with_prompt) == (0, 1)
    assert "prompts.csv cannot be read at line 2" in faults[0] and "is damaged" in faults[1]


def test_what_changes_is_seen_the_next_time(studies: Path) -> None:
    facts, store = facts_of(studies), Store(studies)
    assert facts.pictures(LATER, []).labelled_since == 0 and facts.pictures(EARLIER, []).labelled_since == 1
    store.remember("delta", entry("preset", "right lung"))
    store.save_label("charlie", "final", b"label", ".nrrd", by=PERSON, time=iso_time())
    store.discard_label("alpha", "final")
    counts = facts.pictures("", [])
    assert (counts.labelled, counts.with_prompt, counts.to_prompt) == (1, 3, 1)
    store.forget("charlie")
    assert facts.pictures("", []).with_prompt == 2


def test_the_ranking_is_read_from_the_disk(studies: Path, capsys: pytest.CaptureFixture) -> None:
    Path("app").mkdir()
    scores = Scores(studies / ".textseg" / "scores", studies / ".textseg" / "unfinished")
    for name, score, look in (("alpha", 0.9, (1, 0)), ("bravo", 0.2, (0, 1)), ("delta", 0.6, (1, 1))):
        scores.put(name, Scored(Key("p", "w", "f"), np.array(look, np.float16), score, {"flip": score}))
    best = told(capsys)["best"]
    assert [(each["picture"], each["score"]) for each in best] == [("delta", 0.6), ("bravo", 0.2), ("charlie", None)]
    assert "Score 0.60: the mask changes when picture and sides are flipped." in best[0]["reason"]
    assert main(["status", "--app", "app"]) == 0
    assert "worth most to label:\n  delta: Score 0.60" in capsys.readouterr().out


def test_the_best_pictures_come_with_their_words(studies: Path) -> None:
    ranked = [Ranked(name, 0.5, "Because.") for name in ("charlie", "alpha", "delta", "bravo")]
    best = facts_of(studies).best(ranked)
    assert [each.picture for each in best] == ["charlie", "alpha", "delta", "bravo"]
    assert (best[0].prompt, best[0].source, best[0].read_as) == ("LLL patch", "remembered", "As it was read.")
    assert (best[1].prompt, best[1].source) == ("left lung", "csv")
    assert (best[2].prompt, best[2].source) == (best[3].prompt, best[3].source) == ("", "")
    assert [each.mask for each in best] == ["", "", "", "original"]


MODEL = ModelFacts("net", "v0001")
COUNTS = PictureFacts(total=50, labelled=10, unlabelled=40, with_prompt=50)
REJECTED = replace(MODEL, verdict=VerdictFacts("v0002", False, EARLIER, "kept v0001: worse."))
FIRST = (BestPicture("alpha", 0.5, "Because."),)


def training(state: str, sentence: str = "") -> ModelFacts:
    return replace(MODEL, training=TrainingFacts(state, 1, 5, sentence=sentence, started=EARLIER))


@pytest.mark.parametrize(
    ("model", "counts", "said"),
    [
        (replace(MODEL, version=None, told=("It lacks weights.",)), COUNTS, "No model can serve. It lacks weights."),
        (training(TRAINING), PictureFacts(), "net is being trained"),
        (MODEL, None, "The pictures lie in a DICOMweb archive"),
        (MODEL, PictureFacts(), "There are no pictures yet"),
        (training(FAILED, "not trained: no labels"), COUNTS, "did not come to its end (not trained: no labels)"),
        (training(STOPPED, "not trained: stopped"), COUNTS, "then train again (Train in 3D Slicer"),
        (training(FAILED, "x"), replace(COUNTS, labelled_since=1), "Click Next Sample"),
        (REJECTED, COUNTS, "kept back, and v0001 goes on serving. Label more pictures (alpha comes first)"),
        (REJECTED, replace(COUNTS, unlabelled=0), "Correct the labels that were left out"),
        (REJECTED, replace(COUNTS, labelled_since=30), "30 pictures were labelled since the last training"),
        (MODEL, COUNTS, "submit (alpha comes first)."),
        (MODEL, replace(COUNTS, to_prompt=4), "Without a label and a prompt: 4. Write their prompts into"),
        (MODEL, replace(COUNTS, unlabelled=0, labelled_since=3), "Every picture has a final label, 3 since"),
        (MODEL, replace(COUNTS, unlabelled=0), "was learnt from. Copy more pictures"),
    ],
)
def test_in_every_case_a_sentence_says_what_to_do_next(
    model: ModelFacts, counts: PictureFacts | None, said: str
) -> None:
    status = Status((model,), counts, FIRST if counts and counts.unlabelled else ())
    assert said in status.next_step and status.next_step.endswith(".")
    assert status.to_json()["next"] == status.next_step and json.dumps(status.to_json())
