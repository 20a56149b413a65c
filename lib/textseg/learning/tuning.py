"""How a served model goes on learning: a slow recipe, and pictures beside the corrections that keep what it knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from textseg.data.augment import AugmentSettings, Sample
from textseg.data.records import data_folder, read_records
from textseg.engine.recipe import Recipe
from textseg.engine.samples import draw_healthy, draw_samples, load_samples
from textseg.engine.texts import Said, TextReader
from textseg.engine.weights import spoken_sides
from textseg.errors import TextSegError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.picture import XRAY
from textseg.learning.holdout import Split
from textseg.registry import ModelSpec
from textseg.text.finding import Finding
from textseg.text.paraphrase import paraphrase
from textseg.text.prompt import read_prompt

SLOWER = 0.1  # learning rates of a retraining, as a share of the recipe's
REPLAYED = 32  # drawn pictures, and as many of the base set, that a retraining sees beside the corrections, at least
DENIED = 8  # one picture in so many is added that denies any infection
WARM_UP = 5
# For recipes without changes of the words: those of the compact models, shares of the samples.
OBEDIENT = {"kind": "consistent", "no_text": 0.1, "partial": 0.3, "healthy": 0.15, "coarse": 0.1}


@dataclass(frozen=True)
class Words:
    """How a model reads words. spoken: see `Predictor`; None for our sentence. flips: pictures may change sides."""

    reader: TextReader
    spoken: str | None
    flips: bool

    @property
    def verbatim(self) -> bool:
        """As they stand."""
        return self.spoken is not None

    @classmethod
    def of(cls, manifest: dict[str, Any], network: nn.Module) -> "Words":
        """Of a network with its manifest. Words that are read as they stand are flipped where they were before."""
        spoken = spoken_sides(manifest)
        augment = (manifest.get("recipe") or {}).get("augment") or {}
        return cls(TextReader.of(network, spoken is not None), spoken, spoken is None or bool(augment.get("flip")))


def fine_tuning(recipe: Recipe, epochs: int, rate: float, words: Words) -> Recipe:
    """A recipe for going on from trained weights: short, slow, one cosine, the last epoch counts; words keep power."""
    return replace(
        recipe,
        epochs=epochs,
        rate=recipe.rate * rate,
        encoder_rate=recipe.encoder_rate * rate,
        warm_up=WARM_UP,
        schedule="cosine",
        period=None,
        average=0.0,
        patience=None,
        first_kept=1,
        augment=_obedient(recipe.augment, words.flips),
    )


def _obedient(augment: AugmentSettings, flips: bool) -> AugmentSettings:
    augment = augment if augment.partial else replace(augment, **OBEDIENT)
    return replace(augment, flip=0.5) if flips else replace(augment, flip=0.0, upend=0.0)


def samples_of(
    spec: ModelSpec, split: Split, words: Words, seed: int, replay: Path | None
) -> tuple[list[Sample], dict[str, int]]:
    """Corrections; pictures that keep what was known: drawn ones, of the base set, denials; and how many of each.

    replay: the base set, a folder or zip as `textseg train` takes it.
    """
    own = load_samples([correction.record for correction in split.training], spec.input_size)
    most = max(REPLAYED, len(own))
    parts = {"corrections": own}
    if words.verbatim:
        parts |= said_otherwise(own, words.reader, seed)
    elif XRAY in spec.modalities:
        parts["phantoms"] = draw_samples(most, seed, spec.input_size)
        parts["denials"] = draw_healthy(most // DENIED, seed, spec.input_size)
    if replay:
        parts["replayed"] = _replayed(spec, replay, split, most, words.spoken, seed)
    counts = {name: len(samples) for name, samples in parts.items()} | {"held_out": len(split.held)}
    return [sample for samples in parts.values() for sample in samples], counts


def said_otherwise(samples: Sequence[Sample], reader: TextReader, seed: int) -> dict[str, list[Sample]]:
    """For a model that reads words as they stand: the samples in other words, and some whose words deny everything.

    Only in words that the model knows; a text that is not understood has no other wording.
    """
    wordings, denials = [], []
    for number, sample in enumerate(samples):
        other = _other_wording(sample.words, seed + number)
        if other and not reader.lost(Said(words=other)).unknown:
            wordings.append(replace(sample, words=other))
        denial = paraphrase(Finding(absent=True), seed + number)
        if number % DENIED == 0 and not reader.lost(Said(words=denial)).unknown:
            denials.append(replace(sample, words=denial, mask=np.zeros_like(sample.mask)))
    return {"wordings": wordings, "denials": denials}


def _other_wording(words: str, seed: int) -> str:
    """The same in other words and the same sides, whoever's they are; "" where a part of it would be lost."""
    try:
        finding = read_prompt(words).finding
    except TextSegError:
        return ""
    return "" if finding.unread else paraphrase(finding, seed)


def _replayed(spec: ModelSpec, replay: Path, split: Split, most: int, spoken: str | None, seed: int) -> list[Sample]:
    """Pictures of the base set by chance, none that is held out."""
    held = {correction.pixels for correction in split.held}
    with data_folder(replay) as folder:
        records = read_records(folder, split="train", spoken=spoken)
        order = np.random.default_rng(seed).permutation(len(records))
        chosen = [records[number] for number in order[:most]]
        return load_samples(
            [record for record in chosen if pixels_sha256(record.load()[0]) not in held], spec.input_size
        )
