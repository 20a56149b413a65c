"""What a model goes on learning from, and how: the corrections shift it, the rest keeps its words' power."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from corrected import SPEC, labelled

from textseg.data.augment import Sample
from textseg.data.seen import Seen
from textseg.engine.recipe import recipe_of
from textseg.engine.texts import TextReader
from textseg.learning import tuning
from textseg.learning.corrections import gather
from textseg.learning.holdout import HoldOut, Split
from textseg.learning.reference import write_phantoms
from textseg.learning.tuning import DENIED, Words, fine_tuning, said_otherwise, samples_of
from textseg.registry import MODELS
from textseg.text.prompt import read_prompt
from textseg.text.tokens import WordTokens

CANONICAL = Words(TextReader(WordTokens()), None, flips=True)
SENTENCES = ("Consolidation in the left lower lobe.", "polyp, near the fold", "Right upper zone opacity.", "")


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Ten drawn corrections."""
    given = gather([labelled(tmp_path, number) for number in range(10)], SPEC.name).usable
    return HoldOut(tmp_path).split(given, Seen())


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_every_model_goes_on_with_changes_of_the_words(spec):
    first = recipe_of(spec)
    recipe = fine_tuning(first, 5, 0.1, CANONICAL)
    augment = recipe.augment
    assert augment.kind == "consistent" and augment.flip > 0
    assert min(augment.no_text, augment.partial, augment.coarse) > 0
    assert (recipe.epochs, recipe.rate, recipe.frozen_norms) == (5, first.rate * 0.1, True)


def test_words_read_as_they_stand_are_flipped_only_where_they_were_before():
    recipe = recipe_of(SPEC)
    assert fine_tuning(recipe, 5, 0.1, replace(CANONICAL, flips=False)).augment.flip == 0
    assert fine_tuning(recipe, 5, 0.1, CANONICAL).augment.flip > 0


def test_beside_corrections_drawn_pictures_are_learnt_and_denials_are_empty(split, monkeypatch):
    monkeypatch.setattr(tuning, "REPLAYED", 16)
    samples, counts = samples_of(SPEC, split, CANONICAL, 7, None)
    assert counts == {
        "corrections": len(split.training),
        "phantoms": 16,
        "denials": 16 // DENIED,
        "held_out": len(split.held),
    }
    denied = [sample for sample in samples if sample.finding.nothing]
    assert len(denied) == counts["denials"] and not any(sample.mask.any() for sample in denied)
    fresh = samples_of(SPEC, split, CANONICAL, 700, None)[0]
    assert not any(np.array_equal(one.image, other.image) for one in samples[-16:] for other in fresh[-16:])


def test_the_base_set_is_replayed_but_for_what_is_held_out(split, tmp_path, monkeypatch):
    base = tmp_path / "base"
    base.mkdir()
    monkeypatch.setattr("textseg.learning.reference.PHANTOMS", 4)
    write_phantoms(base)
    shutil.copy(split.held[0].record.image, base / "images" / "held.png")
    shutil.copy(split.held[0].record.mask, base / "masks" / "held.png")
    rows = list(csv.reader((base / "prompts.csv").read_text().splitlines()))
    with (base / "prompts.csv").open("w", newline="") as file:
        csv.writer(file).writerows(
            [[*rows[0], "split"], *([*row, "train"] for row in rows[1:]), ["held", "infection", "train"]]
        )
    assert samples_of(SPEC, split, CANONICAL, 7, base)[1]["replayed"] == 4


class Known:
    """A tokenizer that knows all words but some."""

    def __init__(self, *unknown: str) -> None:
        self.words = WordTokens()
        self.unknown = unknown

    def lost(self, sentence: str):
        """Those of them that a sentence has."""
        known = self.words.lost("")
        return replace(known, unknown=tuple(word for word in self.unknown if word in sentence.lower()))


def spoken(*sentences: str) -> list[Sample]:
    """Samples with words of people."""
    return [Sample(np.zeros((8, 8)), np.ones((8, 8)), None, None, words) for words in sentences]


def test_words_read_as_they_stand_are_said_otherwise_and_denied():
    given = spoken(*SENTENCES * 4)
    found = said_otherwise(given, TextReader(Known(), verbatim=True), seed=1)
    for sample, other in zip(given[::2], found["wordings"], strict=True):
        before, after = (read_prompt(each.words).finding for each in (sample, other))
        assert other.words != sample.words and (before.left, before.right) == (after.left, after.right)
        assert other.mask.all()
    assert len(found["denials"]) == len(given) // DENIED
    assert all(read_prompt(each.words).finding.nothing and not each.mask.any() for each in found["denials"])


def test_words_that_the_model_does_not_know_are_not_taught_to_it():
    found = said_otherwise(spoken(*SENTENCES * 8), TextReader(Known("n", "l"), verbatim=True), seed=1)
    assert found == {"wordings": [], "denials": []}
