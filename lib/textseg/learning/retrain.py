"""One retraining in five hops: corrections -> hold-out -> candidate -> gate -> published or kept.

It starts from the version that serves and never publishes by itself: the gate does. Runs without MONAI Label.
"""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from torch import nn

from textseg.data.augment import Sample
from textseg.data.records import data_folder, read_records
from textseg.data.seen import SUFFIX, Seen
from textseg.data.store.durable import iso_time
from textseg.engine.predictor import Predictor
from textseg.engine.recipe import Recipe, recipe_of
from textseg.engine.reports import EpochDone
from textseg.engine.samples import draw_samples, load_samples
from textseg.engine.trainer import train
from textseg.engine.weights import load_stored, save_weights
from textseg.errors import OptionError, TextSegError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.picture import XRAY
from textseg.learning.corrections import Corrections
from textseg.learning.gate import Judgement, Standing, judge, measure
from textseg.learning.holdout import HoldOut, Split
from textseg.learning.reference import reference_records
from textseg.learning.versions import Served, Versions
from textseg.registry import ModelSpec

GATE, NEVER = ("gate", "never")  # what becomes of a candidate that passes
SLOWER = 0.1  # learning rates of a retraining, as a share of the recipe's
REPLAYED = 32  # drawn pictures, and as many of the base set, that a retraining sees beside the corrections, at least
WARM_UP = 5
logger = logging.getLogger(__name__)


class TrainingRuns(TextSegError):
    """Another training of this model has not ended."""

    status = 429


@dataclass(frozen=True)
class Retraining:
    """What is to be done. versions: of the model; runs: a folder for what a run leaves. corrections: what people gave.

    own_reference, replay: folders or zips of a site, as `reference_records` and `textseg train` take them. publish:
    "gate" or "never". rate: share of the recipe's learning rates.
    """

    spec: ModelSpec
    versions: Versions
    holdout: HoldOut
    runs: Path
    own_reference: Path | None = None
    replay: Path | None = None
    publish: str = GATE
    epochs: int = 5
    rate: float = SLOWER
    seed: int = 1
    device: str = "cpu"
    pretrained: Path | None = None
    recipe: Recipe | None = None
    after_epoch: Callable[[EpochDone], None] | None = None


@dataclass(frozen=True)
class Outcome:
    """verdict: the sentence that people read. published: the new version; "" when the old one was kept."""

    verdict: str
    published: str
    report: dict[str, Any]


def retrain(task: Retraining, corrections: Corrections) -> Outcome:
    """Train a candidate on corrections, hold it against the version that serves, publish it if it is no worse.

    Raises OptionError where there is nothing to learn from, TrainingRuns where another one is at it, and what reading,
    training and keeping raise; then the version that serves goes on serving.
    """
    with alone(task.runs):
        served = task.versions.served()
        seen = Seen.read((served.weights or task.spec.weights_path).with_suffix(SUFFIX))
        split = task.holdout.split(corrections.usable, seen)
        _check(split, corrections)
        logger.info("%s; %d held out", corrections.told(), len(split.held))
        candidate, samples = _candidate(task, served, split, seen)
        judgement = _judged(task, served, candidate, split)
        told = {"corrections": corrections.told(), "left_out": corrections.left_out, "samples": samples}
        return _settled(task, served, candidate, judgement, told)


@contextmanager
def alone(runs: Path) -> Iterator[None]:
    """One training of a model at a time, among all processes; a process that dies lets go. Raises TrainingRuns."""
    runs.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(runs / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise TrainingRuns("A training of this model runs already. Wait for its end, or stop it.") from error


def _check(split: Split, corrections: Corrections) -> None:
    if split.training:
        return
    held = f" {len(split.held)} are held out to score candidates." if split.held else ""
    left = f" {len(corrections.left_out)} could not be used: {corrections.left_out[0]}" if corrections.left_out else ""
    raise OptionError(f"There is nothing to learn from yet: submit labels first.{held}{left}")


@dataclass(frozen=True)
class Candidate:
    """A trained network, its stored weights, what its training was, and the pictures that it has seen."""

    network: nn.Module
    path: Path
    manifest: dict[str, Any]
    seen: Seen


def _candidate(task: Retraining, served: Served, split: Split, seen: Seen) -> tuple[Candidate, dict[str, int]]:
    """Trained from the version that serves, in a folder without leftovers of an earlier run."""
    folder = task.runs / "candidate"
    shutil.rmtree(folder, ignore_errors=True)
    network, manifest = load_stored(task.spec, served.weights, task.pretrained)
    verbatim = (manifest.get("text_encoder") or {}).get("reads") == "verbatim"
    recipe = fine_tuning(task.recipe or recipe_of(task.spec), task.epochs, task.rate)
    recipe = replace(recipe, augment=replace(recipe.augment, flip=0.0, upend=0.0)) if verbatim else recipe
    samples, counts = _samples(task, split, verbatim)
    trained = train(
        task.spec,
        network,
        recipe,
        samples,
        None,
        folder,
        task.seed,
        task.device,
        workers=0,
        verbatim=verbatim,
        after_epoch=task.after_epoch,
    )
    manifest = _manifest(manifest, served, recipe, trained.seconds, counts, task.seed)
    path = folder / f"{task.spec.name}.safetensors"
    save_weights(trained.network, path, manifest)
    seen = seen.joined(correction.pixels for correction in split.training)
    return Candidate(trained.network, path, manifest, seen), counts


def fine_tuning(recipe: Recipe, epochs: int, rate: float) -> Recipe:
    """A recipe for going on from trained weights: short, slow, one cosine, the last epoch counts."""
    return replace(
        recipe,
        epochs=epochs,
        rate=recipe.rate * rate,
        encoder_rate=recipe.encoder_rate * rate,
        warm_up=WARM_UP,
        schedule="cosine",
        period=None,
        cycles=(),
        average=0.0,
        patience=None,
        first_kept=1,
    )


def _samples(task: Retraining, split: Split, verbatim: bool) -> tuple[list[Sample], dict[str, int]]:
    """Corrections, freshly drawn phantoms, and pictures of the base set, so that what was known is not forgotten."""
    size = task.spec.input_size
    own = load_samples([correction.record for correction in split.training], size)
    most = max(REPLAYED, len(own))
    drawn = XRAY in task.spec.modalities and not verbatim
    phantoms = draw_samples(most, task.seed, size) if drawn else []
    base = _replayed(task, split, most) if task.replay else []
    counts = {"corrections": len(own), "phantoms": len(phantoms), "replayed": len(base), "held_out": len(split.held)}
    return [*own, *phantoms, *base], counts


def _replayed(task: Retraining, split: Split, most: int) -> list[Sample]:
    """Pictures of the base set by chance, none that is held out."""
    held = {correction.pixels for correction in split.held}
    with data_folder(task.replay) as folder:
        records = read_records(folder, split="train")
        order = np.random.default_rng(task.seed).permutation(len(records))
        chosen = [records[number] for number in order[:most]]
        return load_samples(
            [record for record in chosen if pixels_sha256(record.load()[0]) not in held], task.spec.input_size
        )


def _manifest(
    before: dict[str, Any], served: Served, recipe: Recipe, seconds: float, counts: dict[str, int], seed: int
) -> dict[str, Any]:
    """What is told of the candidate's weights: as those that it started from, but for its own training."""
    kept = {key: value for key, value in before.items() if key not in ("metrics", "sha256", "schema", "epoch")}
    return {
        **kept,
        "started_from": served.version,
        "recipe": recipe.to_json(),
        "retrained": {"time": iso_time(), "seconds": round(seconds), "seed": seed, **counts},
    }


def _judged(task: Retraining, served: Served, candidate: Candidate, split: Split) -> Judgement:
    """The stored candidate beside the version that serves, on the same pictures."""
    old = Predictor.load(task.spec, served.weights, task.device, task.pretrained)
    new = Predictor.load(task.spec, candidate.path, task.device, task.pretrained)
    held = [correction.record for correction in split.held]
    with reference_records(task.spec, task.own_reference, old.spoken) as reference:
        standings = [Standing(measure(each, held), measure(each, reference)) for each in (old, new)]
    return judge(*standings)


def _settled(
    task: Retraining, served: Served, candidate: Candidate, judgement: Judgement, told: dict[str, Any]
) -> Outcome:
    """Published, or kept with the reason; the report of the gate is kept either way."""
    report = {"gate": judgement.figures, "dice": judgement.dice(), **told}
    if judgement.passed and task.publish == GATE:
        verdict = judgement.sentence(task.versions.next_version())
        whole = {**report, "verdict": verdict}
        version = task.versions.publish(candidate.network, candidate.manifest, whole, candidate.seen)
    else:
        verdict, version = _kept(served, judgement), ""
        task.versions.reject({**report, "verdict": verdict})
    logger.info("%s", verdict)
    return Outcome(verdict, version, report)


def _kept(served: Served, judgement: Judgement) -> str:
    if not judgement.passed:
        return judgement.sentence(served.version)
    return f"kept {served.version}: publishing is off; the candidate would pass: {'; '.join(judgement.reasons)}"
