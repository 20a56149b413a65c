"""Retraining from labels of people: what is good is learnt, nothing worse is ever published, the verdict says why."""

import numpy as np
import pytest
from corrected import labelled

from textseg.errors import OptionError
from textseg.learning.retrain import NEVER, TrainingRuns, alone


def test_good_corrections_give_a_candidate_and_a_verdict_in_words(learning):
    outcome = learning.retrained([labelled(learning.studies, number) for number in range(8)])
    assert outcome.verdict.startswith(f"published {outcome.published}:" if outcome.published else "kept v0000:")
    assert learning.versions.verdicts()[-1].sentence == outcome.verdict
    assert learning.versions.served().version == (outcome.published or "v0000")
    gate = outcome.report["gate"]
    assert gate["served"]["reference"]["pictures"] == gate["candidate"]["reference"]["pictures"] == 10


def inverted(mask: np.ndarray) -> np.ndarray:
    """What is healthy is marked."""
    return 1 - mask


def shifted(mask: np.ndarray) -> np.ndarray:
    """Marked beside the lungs."""
    return np.roll(mask, 80, axis=0)


@pytest.mark.parametrize("spoil", [inverted, np.zeros_like, shifted])
def test_bad_masks_are_never_published(learning, spoil):
    given = [labelled(learning.studies, number, spoil) for number in range(8)]
    outcome = learning.retrained(given, epochs=3, rate=1.0)
    assert not outcome.published and outcome.verdict.startswith("kept v0000: ")
    assert learning.versions.served().version == "v0000"


def test_an_absurd_learning_rate_is_never_published(learning):
    given = [labelled(learning.studies, number) for number in range(6)]
    outcome = learning.retrained(given, rate=1000.0)
    assert not outcome.published and learning.versions.served().version == "v0000"


def test_publishing_can_be_switched_off(learning):
    outcome = learning.retrained([labelled(learning.studies, number) for number in range(4)], publish=NEVER)
    assert not outcome.published and outcome.verdict.startswith("kept v0000")


def test_labels_that_cannot_be_used_are_named_and_the_others_train(learning):
    given = [labelled(learning.studies, number) for number in range(5)]
    (learning.studies / "p1.png").write_bytes(b"no picture")
    (learning.studies / "p2_label.png").write_bytes(b"no label")
    given.append(labelled(learning.studies, 7, prompt="infection, left lung"))  # it is the right one that is drawn
    outcome = learning.retrained(given)
    assert {sentence.split(":")[0] for sentence in outcome.report["left_out"]} == {"p1", "p2", "p7"}
    assert outcome.report["samples"]["corrections"] + outcome.report["samples"]["held_out"] == 3


def test_without_a_usable_label_nothing_is_trained(learning):
    with pytest.raises(OptionError, match="nothing to learn from yet: submit labels first"):
        learning.retrained([])
    assert not learning.versions.verdicts()


def test_two_trainings_of_a_model_never_run_at_once(learning):
    with alone(learning.folder / "runs"), pytest.raises(TrainingRuns, match="runs already"):
        learning.retrained([labelled(learning.studies, 0)])


def test_a_candidate_starts_from_the_version_that_serves_and_not_from_a_bad_run(learning):
    given = [labelled(learning.studies, number) for number in range(4)]
    candidate = learning.folder / "runs" / "candidate"
    candidate.mkdir(parents=True)
    (candidate / "resume_epoch=1.pt").write_bytes(b"of a training that was killed")
    assert learning.retrained(given, publish=NEVER).report["started_from"] == "v0000"
    assert not candidate.exists()


def test_what_was_held_out_trains_no_candidate(learning):
    given = [labelled(learning.studies, number) for number in range(12)]
    first = learning.retrained(given[:10], publish=NEVER).report["samples"]
    again = learning.retrained(given, publish=NEVER).report["samples"]
    assert again["held_out"] >= first["held_out"] and again["corrections"] >= first["corrections"]
    assert first["held_out"] + first["corrections"] == 10 and again["held_out"] + again["corrections"] == 12
