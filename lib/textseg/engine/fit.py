"""`textseg train`: data set -> samples -> trainer -> weights with a manifest, scored as stored."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from textseg.data.records import Record, data_folder, read_records
from textseg.engine.evaluate import evaluate
from textseg.engine.predictor import Predictor
from textseg.engine.recipe import RECIPES, Recipe
from textseg.engine.samples import draw_samples, load_samples
from textseg.engine.trainer import Trained, denormals_as_zero, train
from textseg.engine.weights import SHIPPED_VERSION, read_manifest, save_weights, write_manifest
from textseg.registry import ModelSpec

CHOOSING_ROWS = 400  # validation rows scored after every epoch; the manifest gives all of them
UNSTATED = "not stated: the terms of the training data hold"
logger = logging.getLogger(__name__)


def fit(
    spec: ModelSpec,
    data: Path,
    output: Path,
    seed: int,
    laterality: str = "patient",
    split_column: str = "split",
    epochs: int | None = None,
    phantoms: int | None = None,
    device: str = "cpu",
    licence: str | None = None,
) -> Path:
    """Train a model on the rows of `data` marked train, choose on those marked valid; returns the weights file.

    output: weights, manifest and checkpoints go there; called again it goes on where it was broken off. licence: the
    terms of the weights, for the manifest.
    """
    asked = {key: value for key, value in (("epochs", epochs), ("phantoms", phantoms)) if value is not None}
    recipe = replace(RECIPES[spec.recipe], **asked)
    with denormals_as_zero(), data_folder(data) as folder:
        training = read_records(folder, "train", split_column, laterality)
        validation = read_records(folder, "valid", split_column, laterality)
        samples = load_samples(training, spec.input_size) + draw_samples(recipe.phantoms, seed, spec.input_size)
        choosing = load_samples(validation[:CHOOSING_ROWS], spec.input_size)
        trained = train(spec, recipe, samples, choosing, output / "checkpoints", seed, device)
        path = output / f"{spec.name}.safetensors"
        manifest = _manifest(spec, recipe, data, len(training), seed, trained)
        save_weights(trained.network, path, {**manifest, "licence": licence or UNSTATED})
        _add_validation(spec, path, validation)
    return path


def _manifest(spec: ModelSpec, recipe: Recipe, data: Path, rows: int, seed: int, trained: Trained) -> dict[str, Any]:
    return {
        "name": spec.name,
        "version": SHIPPED_VERSION,
        "network": spec.network,
        "settings": dict(spec.settings),
        "threshold": 0.5,
        "data": {"name": data.parent.name if data.is_file() else data.name, "rows": rows, "phantoms": recipe.phantoms},
        "started_from": f"{spec.settings['encoder']}, ImageNet, Apache-2.0" if recipe.pretrained else "random weights",
        "recipe": recipe.to_json(),
        "seed": seed,
        "seconds": round(trained.seconds),
        "epoch": trained.epoch,
    }


def _add_validation(spec: ModelSpec, path: Path, validation: list[Record]) -> None:
    """Score the file as it is stored, on every validation row, and write the figures into its manifest."""
    report = evaluate(Predictor.load(spec, path), validation).report(paper=False)
    write_manifest(path, {**read_manifest(path), "metrics": {"validation": report}})
    logger.info("validation dice_image %.4f as stored", report["texts"]["right"]["dice_image"])
