"""`textseg train`: data set -> samples -> trainer -> weights with a manifest, scored as stored."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai.utils import set_determinism
from torch import nn

from textseg.data.records import Record, data_folder, read_records
from textseg.data.seen import SUFFIX, Seen
from textseg.engine.begun import begin, encoder_told, rows_told
from textseg.engine.build import LOCAL_ENCODERS, starting_network
from textseg.engine.distributed import is_first, processes
from textseg.engine.evaluate import evaluate
from textseg.engine.predictor import Predictor
from textseg.engine.ready import SHIPPED_VERSION, read_manifest
from textseg.engine.recipe import Recipe
from textseg.engine.samples import draw_samples, load_samples
from textseg.engine.trainer import Trained, denormals_as_zero, train
from textseg.engine.weights import (
    CANONICAL,
    VERBATIM,
    save_weights,
    take_encoder,
    text_encoder_told,
    write_manifest,
)
from textseg.errors import OptionError
from textseg.registry import ModelSpec, model_spec
from textseg.text.encoder import TextEncoder
from textseg.text.tokens import collected_words

CHOOSING_ROWS = 400  # validation rows scored after every epoch; the manifest gives all of them
UNSTATED = "not stated: the terms of the training data hold"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assignment:
    """What is to be trained. data: folder or zip with rows marked train and valid in `split_column`.

    output: weights, manifest, checkpoints and scalars for TensorBoard go there; called again it goes on where it was
    broken off, another training is refused there. device: None for a GPU where there is one. workers: processes that
    prepare batches. licence: the terms of the weights, for the manifest. laterality: whose sides the sentences speak
    of. verbatim: the text encoder reads the sentences as they stand, without drawn phantoms, and without the recipe's
    flips unless `flips` says so. pretrained: folder of pretrained weights; random_encoders: without any.
    """

    spec: ModelSpec
    recipe: Recipe
    data: Path
    output: Path
    seed: int = 1
    laterality: str = "patient"
    split_column: str = "split"
    device: str | None = None
    workers: int = 1
    licence: str | None = None
    verbatim: bool = False
    flips: bool = False
    pretrained: Path | None = None
    random_encoders: bool = False


def fit(task: Assignment) -> Path | None:
    """Train on the rows marked train, choose on those marked valid; returns the weights file.

    Beside it lie its manifest and hashes of all pictures that it has seen, see `data.seen`. Of several processes (see
    `distributed`) the first one writes it, when the others have ended and returned None. Raises OptionError for a
    combination that cannot be, DataError for the data, WeightsMissing for what it starts from, and what `train` raises.
    """
    _check(task)
    task = replace(task, recipe=_own_words(task.recipe, task.flips)) if task.verbatim else task
    with denormals_as_zero(), data_folder(task.data) as folder:
        training = _records(task, folder, "train")
        validation = _records(task, folder, "valid")
        with processes(task.device) as device:
            first, (trained, started_from) = is_first(), _trained(task, device, training, validation)
        if not first:
            return None
        path = task.output / f"{task.spec.name}.safetensors"
        save_weights(trained.network, path, _manifest(task, len(training), trained, started_from))
        Seen.of([*training, *validation]).write(path.with_suffix(SUFFIX))
        _add_validation(task, path, validation)
    return path


def _trained(task: Assignment, device: str, training: list[Record], validation: list[Record]) -> tuple[Trained, str]:
    """The outcome, and what the manifest says of where it started from."""
    spec, size, checkpoints = task.spec, task.spec.input_size, task.output / "checkpoints"
    set_determinism(task.seed)
    words = collected_words(record.words for record in training) if task.verbatim else None
    network, started_from = _start(task, words)
    if is_first():
        begin(checkpoints, _told(task, network.text_encoder, training, validation))
    trained = train(
        spec,
        network,
        task.recipe,
        load_samples(training, size) + draw_samples(task.recipe.phantoms, task.seed, size),
        load_samples(validation[:CHOOSING_ROWS], size),
        checkpoints,
        task.seed,
        device,
        task.workers,
        task.verbatim,
        board=task.output / "tensorboard",
    )
    return trained, started_from


def _check(task: Assignment) -> None:
    if not task.verbatim and task.flips:
        raise OptionError("Whether pictures are flipped is the recipe's: --flips goes with --reads verbatim alone.")
    if not task.verbatim:
        return
    if task.spec.text_encoder is None:
        raise OptionError(f"{task.spec.name} reads eight numbers, no sentences: leave --reads verbatim away.")
    if task.random_encoders and task.spec.text_encoder in LOCAL_ENCODERS:
        raise OptionError("A random text encoder knows our canonical words only: leave --reads verbatim away.")
    if task.recipe.augment.kind == "published":
        raise OptionError(
            "The published recipes turn and flip pictures under words that stay: leave --reads verbatim away, or take "
            "a model whose recipe does not."
        )
    if task.flips and not (task.recipe.augment.flip or task.recipe.augment.upend):
        raise OptionError("This recipe flips no pictures: leave --flips away.")


def _own_words(recipe: Recipe, flips: bool) -> Recipe:
    """A recipe for people's own words: phantoms speak the canonical language, and flips exchange English words."""
    augment = recipe.augment if flips else replace(recipe.augment, flip=0.0, upend=0.0)
    return replace(recipe, phantoms=0, augment=augment)


def _start(task: Assignment, words: Sequence[str] | None) -> tuple[nn.Module, str]:
    """The network that the training starts from, and what the manifest says of that."""
    spec, recipe = task.spec, task.recipe
    from_imagenet = recipe.pretrained and not recipe.encoder_from
    network = starting_network(spec, from_imagenet, task.pretrained, task.random_encoders, words)
    if task.random_encoders:
        return network, "random weights"
    if recipe.encoder_from:
        return network, take_encoder(network, model_spec(recipe.encoder_from))
    return network, f"{spec.settings['encoder']}, ImageNet, Apache-2.0" if recipe.pretrained else "random weights"


def _records(task: Assignment, folder: Path, split: str) -> list[Record]:
    spoken = task.laterality if task.verbatim else None
    return read_records(folder, split, task.split_column, task.laterality, spoken)


def _told(
    task: Assignment, encoder: TextEncoder | None, training: list[Record], validation: list[Record]
) -> dict[str, Any]:
    """Everything that makes it this training and no other."""
    return {
        "model": task.spec.name,
        "network": task.spec.network,
        "settings": dict(task.spec.settings),
        "input_size": task.spec.input_size,
        "text_encoder": encoder_told(encoder),
        "random_encoders": task.random_encoders,
        "reads": VERBATIM if task.verbatim else CANONICAL,
        "laterality": task.laterality,
        "recipe": task.recipe.to_json(),
        "seed": task.seed,
        "training": rows_told(training),
        "validation": rows_told(validation),
    }


def _manifest(task: Assignment, rows: int, trained: Trained, started_from: str) -> dict[str, Any]:
    spec, recipe, data = task.spec, task.recipe, task.data
    random = task.random_encoders and spec.text_encoder in LOCAL_ENCODERS
    return {
        "name": spec.name,
        "version": SHIPPED_VERSION,
        "network": spec.network,
        "settings": dict(spec.settings),
        "input_size": spec.input_size,
        "text_encoder": text_encoder_told(spec, trained.network, task.verbatim, random, task.laterality),
        "threshold": 0.5,
        "data": {
            "name": data.parent.name if data.is_file() else data.name,
            "rows": rows,
            "phantoms": recipe.phantoms,
        },
        "started_from": started_from,
        "recipe": recipe.to_json(),
        "seed": task.seed,
        "seconds": round(trained.seconds),
        "epoch": trained.epoch,
        "licence": task.licence or UNSTATED,
    }


def _add_validation(task: Assignment, path: Path, validation: list[Record]) -> None:
    """Score the file as it is stored, on every validation row, and write the figures into its manifest."""
    report = evaluate(Predictor.load(task.spec, path, pretrained=task.pretrained), validation).report(paper=False)
    write_manifest(path, {**read_manifest(path), "metrics": {"validation": report}})
    logger.info("validation dice_image %.4f as stored", report["texts"]["right"]["dice_image"])
