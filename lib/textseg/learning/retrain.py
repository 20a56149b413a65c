"""One retraining in five hops: corrections -> hold-out -> training -> candidate and gate -> published or kept.

It starts from the version that serves and never publishes by itself: the gate does. Runs without MONAI Label.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import nn

from textseg.data.augment import Sample
from textseg.data.records import Record
from textseg.data.seen import Seen
from textseg.data.store.durable import iso_time
from textseg.engine.predictor import Predictor
from textseg.engine.recipe import Recipe, recipe_of
from textseg.engine.reports import EpochDone
from textseg.engine.trainer import Trained, denormals_as_zero, train
from textseg.engine.weights import load_stored, spoken_sides
from textseg.errors import OptionError, TrainingDiverged, TrainingRuns
from textseg.learning.corrections import Corrections
from textseg.learning.gate import Judgement, Standing, goes_too_far, judge
from textseg.learning.holdout import HoldOut, Split
from textseg.learning.measured import measure
from textseg.learning.reference import reference_records
from textseg.learning.tuning import SLOWER, Words, fine_tuning, samples_of
from textseg.learning.versions import Overtaken, Served, Versions
from textseg.learning.way import SHARES, Candidate, Way, state_of
from textseg.registry import ModelSpec

GATE, NEVER = ("gate", "never")  # what becomes of a candidate that passes
OVERTAKEN = (
    "kept {now}: it serves since this training began, which started from {before} and was held against that; train "
    "again to go on from {now}"
)
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Retraining:
    """What is to be done. versions: of the model; runs: a folder for what a run leaves.

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

    Raises OptionError where there is nothing to learn from or to be held against, TrainingRuns where another one is at
    it, and what reading, training and keeping raise; then the version that serves goes on serving.
    """
    with alone(task.runs):
        return retrain_alone(task, corrections)


def retrain_alone(task: Retraining, corrections: Corrections) -> Outcome:
    """`retrain`, for a caller that is inside `alone`."""
    served = task.versions.served()
    with reference_records(task.spec, task.own_reference, spoken_sides(served.manifest)) as reference:
        seen = seen_by(task.spec, served)
        split = task.holdout.split(corrections.usable, seen)
        _check(split, corrections)
        logger.info("%s; %d held out", corrections.told(), len(split.held))
        way, samples = _learnt(task, served, split, seen)
        candidate, judgement = _judged(task, served, way, split, reference)
    told = {"corrections": corrections.told(), "left_out": corrections.left_out, "samples": samples}
    told["share"] = candidate.manifest["retrained"]["share"]
    outcome = _settled(task, served, candidate, judgement, told)
    _emptied(task.runs)
    return outcome


def seen_by(spec: ModelSpec, served: Served) -> Seen:
    """The pictures that a version was trained on, as far as that is known. Raises DataError for a damaged file."""
    data = served.manifest.get("data") or {}
    return Seen.beside(served.weights or spec.weights_path, str(data.get("name")))


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


def _learnt(task: Retraining, served: Served, split: Split, seen: Seen) -> tuple[Way, dict[str, int]]:
    """Trained from the version that serves, in a folder without leftovers of an earlier run; and how many pictures."""
    folder = _emptied(task.runs)
    network, before = load_stored(task.spec, served.weights, task.pretrained)
    start, words = state_of(network), Words.of(before, network)
    recipe = fine_tuning(task.recipe or recipe_of(task.spec), task.epochs, task.rate, words)
    samples, counts = samples_of(task.spec, split, words, task.seed, task.replay)
    trained = _trained(task, network, recipe, samples, folder, words.verbatim)
    manifest = _manifest(before, served, recipe, trained, {"seed": task.seed, **counts})
    path = folder / f"{task.spec.name}.safetensors"
    seen = seen.joined(correction.pixels for correction in split.training)
    return Way(trained.network, start, state_of(trained.network), path, manifest, seen), counts


def _trained(
    task: Retraining, network: nn.Module, recipe: Recipe, samples: list[Sample], folder: Path, verbatim: bool
) -> Trained:
    """Raises TrainingDiverged, in words for those who correct."""
    try:
        with denormals_as_zero():
            return train(
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
    except TrainingDiverged as error:
        raise TrainingDiverged(
            "The training came to weights that are no numbers; nothing of it is kept. Look at the labels that were "
            "submitted last, then train again."
        ) from error


def _emptied(runs: Path) -> Path:
    """The folder of a candidate, with nothing in it."""
    folder = runs / "candidate"
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _manifest(
    before: dict[str, Any], served: Served, recipe: Recipe, trained: Trained, told: dict[str, int]
) -> dict[str, Any]:
    """What is told of the candidate's weights: as those that it started from, but for its own training."""
    kept = {key: value for key, value in before.items() if key not in ("metrics", "sha256", "schema", "epoch")}
    return {
        **kept,
        "started_from": served.version,
        "recipe": recipe.to_json(),
        "retrained": {"time": iso_time(), "seconds": round(trained.seconds), **told},
    }


def _judged(
    task: Retraining, served: Served, way: Way, split: Split, reference: Sequence[Record]
) -> tuple[Candidate, Judgement]:
    """The candidate that has gone as far as it may, beside the version that serves."""
    held = [correction.record for correction in split.held]
    before = _predictor(task, served.weights)
    standing = Standing(measure(before, held), measure(before, reference))
    for share in SHARES:
        candidate = way.stop_at(share)
        after = _predictor(task, candidate.path)
        known = measure(after, reference)
        if not goes_too_far(standing, known, share):
            break
    return candidate, judge(standing, Standing(measure(after, held), known))


def _predictor(task: Retraining, weights: Path | None) -> Predictor:
    return Predictor.load(task.spec, weights, task.device, task.pretrained)


def _settled(
    task: Retraining, served: Served, candidate: Candidate, judgement: Judgement, told: dict[str, Any]
) -> Outcome:
    """Published, or kept with the reason; the report of the gate is kept either way."""
    report = {"started_from": served.version, "gate": judgement.figures, "dice": judgement.dice(), **told}
    verdict, version = _kept(served, judgement), ""
    if judgement.passed and task.publish == GATE:
        try:
            verdict, version = _published(task, served, candidate, judgement, report)
        except Overtaken as error:
            verdict = OVERTAKEN.format(now=error.version, before=served.version)
    if not version:
        task.versions.reject({**report, "verdict": verdict})
    logger.info("%s", verdict)
    return Outcome(verdict, version, report)


def _published(
    task: Retraining, served: Served, candidate: Candidate, judgement: Judgement, report: dict[str, Any]
) -> tuple[str, str]:
    """The verdict and the version. Raises Overtaken."""
    verdict = judgement.sentence(task.versions.next_version())
    whole = {**report, "verdict": verdict}
    version = task.versions.publish(candidate.network, candidate.manifest, whole, candidate.seen, after=served.version)
    return verdict, version


def _kept(served: Served, judgement: Judgement) -> str:
    if not judgement.passed:
        return judgement.sentence(served.version)
    return f"kept {served.version}: publishing is off; the candidate would pass: {'; '.join(judgement.reasons)}"
