"""Retraining from labels of people: what is good is learnt, nothing worse is ever published, the verdict says why."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from corrected import SPEC, Learning, labelled
from torch import nn

from textseg.data.augment import Sample
from textseg.data.seen import SUFFIX, Seen
from textseg.engine.predictor import Predictor
from textseg.engine.trainer import Trained
from textseg.engine.weights import load_stored
from textseg.errors import DataError, OptionError, TrainingDiverged, TrainingRuns
from textseg.learning import retrain as retraining
from textseg.learning.corrections import Labelled, gather
from textseg.learning.gate import Judgement
from textseg.learning.measured import measure
from textseg.learning.retrain import NEVER, alone


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Sample]]:
    """Trainings that change nothing; the samples of the last one."""
    given: list[Sample] = []

    def train(spec: object, network: nn.Module, recipe: object, samples: list[Sample], *_: object, **__: object):
        given[:] = samples
        return Trained(network, 1, None, 0.0)

    monkeypatch.setattr(retraining, "train", train)
    return given


def some(learning: Learning, count: int, **changed: object) -> list[Labelled]:
    """So many pictures with exact masks, unless `changed` says otherwise."""
    return [labelled(learning.studies, number, **changed) for number in range(count)]


def test_corrections_give_a_candidate_and_a_verdict_in_words(learning):
    outcome = learning.retrained(some(learning, 8))
    assert outcome.verdict.startswith(f"published {outcome.published}:" if outcome.published else "kept v0000:")
    assert learning.versions.verdicts()[-1].sentence == outcome.verdict
    assert learning.versions.served().version == (outcome.published or "v0000")
    gate = outcome.report["gate"]
    assert gate["served"]["reference"]["pictures"] == gate["candidate"]["reference"]["pictures"] == 6
    assert outcome.report["samples"]["corrections"] + outcome.report["samples"]["held_out"] == 8


def inverted(mask: np.ndarray) -> np.ndarray:
    """What is healthy is marked."""
    return 1 - mask


def shifted(mask: np.ndarray) -> np.ndarray:
    """Marked beside the lungs."""
    return np.roll(mask, 80, axis=0)


@pytest.mark.parametrize("spoil", [inverted, shifted])
def test_bad_masks_are_never_published(learning, spoil):
    outcome = learning.retrained(some(learning, 6, spoil=spoil), epochs=3, rate=1.0)
    assert not outcome.published and outcome.verdict.startswith("kept v0000: ")
    assert learning.versions.served().version == "v0000"
    figures = outcome.report["gate"]
    assert figures["candidate"]["reference"]["dice_image"] < figures["served"]["reference"]["dice_image"]


def test_masks_that_were_submitted_empty_make_nothing_worse(learning):
    learning.retrained(some(learning, 6, spoil=np.zeros_like), epochs=3, rate=1.0)
    exact = [
        correction.record for correction in gather([labelled(learning.studies, n) for n in range(20, 32)], "").usable
    ]
    scores = [measure(Predictor.load(SPEC, path), exact) for path in (None, learning.versions.served().weights)]
    before, after = (np.mean(score.dice) for score in scores)
    assert after >= before - 0.003 and scores[1].sensitivity >= scores[0].sensitivity - 0.02


def test_an_absurd_learning_rate_is_never_published(learning):
    outcome = learning.retrained(some(learning, 4), rate=1000.0)
    assert not outcome.published and learning.versions.served().version == "v0000"


def test_a_training_that_came_to_no_numbers_is_told_to_those_who_correct(learning, monkeypatch):
    def diverges(*_: object, **__: object) -> None:
        raise TrainingDiverged("Train into another folder.")

    monkeypatch.setattr(retraining, "train", diverges)
    with pytest.raises(TrainingDiverged, match="Look at the labels that were submitted last"):
        learning.retrained(some(learning, 2))
    assert learning.versions.served().version == "v0000" and not learning.versions.verdicts()


def test_what_is_no_worse_is_published_with_all_that_belongs_to_it(learning, untrained):
    given = some(learning, 4)
    outcome = learning.retrained(given)
    assert outcome.published == "v0001" and outcome.verdict.startswith("published v0001: +0.000 Dice on 6 reference")
    assert "weak evidence" in outcome.verdict
    served = learning.versions.served()
    assert (served.version, served.manifest["started_from"]) == ("v0001", "v0000")
    seen = Seen.read(served.weights.with_suffix(SUFFIX))
    assert sum(each.pixels in seen for each in given) == outcome.report["samples"]["corrections"]
    assert learning.retrained(given).report["started_from"] == "v0001"


def moved(by: float) -> Callable[..., Trained]:
    """A training that does nothing but move all weights."""

    def train(spec: object, network: nn.Module, *_: object, **__: object) -> Trained:
        with torch.no_grad():
            for weight in network.parameters():
                weight += by
        return Trained(network, 1, None, 0.0)

    return train


@pytest.mark.parametrize(("too_far", "share"), [((False,), 1.0), ((True, False), 0.5), ((True, True, True), 0.25)])
def test_a_candidate_goes_a_part_of_its_way_where_the_whole_is_too_far(learning, monkeypatch, too_far, share):
    answers = iter(too_far)
    monkeypatch.setattr(retraining, "train", moved(1e-2))
    monkeypatch.setattr(retraining, "goes_too_far", lambda served, known, share: next(answers))
    monkeypatch.setattr(retraining, "judge", lambda *_: Judgement(True, ("better",), {}))
    monkeypatch.setattr(Judgement, "dice", lambda judgement: {})
    outcome = learning.retrained(some(learning, 2))
    assert outcome.published == "v0001" and outcome.report["share"] == share
    (before, _), (after, manifest) = (load_stored(SPEC, path) for path in (None, learning.versions.served().weights))
    changes = [(b - a).mean().item() for a, b in zip(before.parameters(), after.parameters(), strict=True)]
    assert np.mean(changes) == pytest.approx(share * 1e-2, rel=0.05)
    assert manifest["retrained"]["share"] == share


def test_what_loses_much_on_the_reference_set_is_judged_as_it_is(learning, monkeypatch):
    monkeypatch.setattr(retraining, "train", moved(0.3))
    outcome = learning.retrained(some(learning, 2))
    assert not outcome.published and outcome.report["share"] == 1
    assert "worse on the reference set" in outcome.verdict and learning.versions.served().version == "v0000"


def test_a_rollback_while_a_training_runs_stays(learning, untrained, monkeypatch):
    """What it was trained from is what somebody found bad."""
    learning.retrained(some(learning, 3))
    learning.retrained(some(learning, 3))
    assert learning.versions.served().version == "v0002"
    train = retraining.train

    def rolled_back_meanwhile(*given: object, **more: object) -> Trained:
        learning.versions.rollback()
        return train(*given, **more)

    monkeypatch.setattr(retraining, "train", rolled_back_meanwhile)
    outcome = learning.retrained(some(learning, 3))
    assert not outcome.published and learning.versions.served().version == "v0001"
    assert outcome.verdict.startswith("kept v0001: it serves since this training began, which started from v0002")
    assert learning.versions.verdicts()[-1].sentence == outcome.verdict
    monkeypatch.setattr(retraining, "train", train)
    assert learning.retrained(some(learning, 3)).published


def test_publishing_can_be_switched_off(learning, untrained):
    outcome = learning.retrained(some(learning, 4), publish=NEVER)
    assert not outcome.published and learning.versions.served().version == "v0000"
    assert outcome.verdict.startswith("kept v0000: publishing is off; the candidate would pass: +0.000")


def without_numbers(one: Labelled) -> Labelled:
    """A picture in which a pixel is NaN."""
    pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(one.image))).astype(np.float32)
    pixels[3, 3] = np.nan
    image = one.image.with_suffix(".nii")
    sitk.WriteImage(sitk.GetImageFromArray(pixels), str(image))
    return replace(one, image=image)


def test_labels_that_cannot_be_used_are_named_and_the_others_train(learning, untrained):
    given = some(learning, 5)
    (learning.studies / "p1.png").write_bytes(b"no picture")
    (learning.studies / "p2_label.png").write_bytes(b"no label")
    given[3] = without_numbers(given[3])
    given.append(labelled(learning.studies, 7, prompt="infection, left lung"))  # it is the right one that is drawn
    outcome = learning.retrained(given)
    assert {sentence.split(":")[0] for sentence in outcome.report["left_out"]} == {"p1", "p2", "p3", "p7"}
    assert outcome.report["samples"]["corrections"] + outcome.report["samples"]["held_out"] == 2


def test_without_a_usable_label_nothing_is_trained(learning, untrained):
    with pytest.raises(OptionError, match="nothing to learn from yet: submit labels first"):
        learning.retrained([])
    assert not learning.versions.verdicts() and not untrained


def test_two_trainings_of_a_model_never_run_at_once(learning, untrained):
    with alone(learning.folder / "runs"), pytest.raises(TrainingRuns, match="runs already"):
        learning.retrained(some(learning, 1))


def test_a_candidate_starts_from_the_version_that_serves_and_not_from_a_bad_run(learning):
    left = learning.folder / "runs" / "candidate"
    left.mkdir(parents=True)
    (left / "resume_epoch=1.pt").write_bytes(b"of a training that was killed")
    assert learning.retrained(some(learning, 2)).report["started_from"] == "v0000"
    assert not left.exists()


def test_what_was_held_out_trains_no_candidate(learning, untrained):
    given = some(learning, 12)
    first = learning.retrained(given[:10], publish=NEVER).report["samples"]
    second = learning.retrained(given, publish=NEVER).report["samples"]
    assert first["held_out"] and second["held_out"] >= first["held_out"]
    assert first["held_out"] + first["corrections"] == 10 and second["held_out"] + second["corrections"] == 12
    assert len(untrained) == sum(count for name, count in second.items() if name != "held_out")


def test_without_pictures_to_hold_it_against_nothing_is_trained(learning, untrained, tmp_path: Path):
    empty = tmp_path / "reference"
    (empty / "images").mkdir(parents=True)
    (empty / "masks").mkdir()
    with pytest.raises(DataError, match="holds no picture"):
        learning.retrained(some(learning, 2), own_reference=empty)
    assert not untrained
