"""What the commands of the command line do. Each imports what it needs, so that `textseg info` starts without torch."""

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

from textseg import __version__
from textseg.errors import DataError, PromptError
from textseg.registry import DEFAULT_MODEL, MODELS, model_spec, require_weights


def info(options: argparse.Namespace) -> None:
    """List the models and whether their weights are here."""
    models = [
        {
            "name": spec.name,
            "title": spec.title,
            "paper": spec.paper,
            "parameters": spec.parameters,
            "weights": spec.has_weights,
            "default": spec.name == DEFAULT_MODEL,
        }
        for spec in MODELS.values()
    ]
    if options.json:
        _print_json({"version": __version__, "models": models})
        return
    for model in models:
        state = "ready" if model["weights"] else f"no weights: train it with `textseg train {model['name']}`"
        print(f"{model['name']:15} {model['parameters']:>11,} weights  {state}  {model['title']}")


def predict(options: argparse.Namespace) -> None:
    """Segment one picture and write the mask."""
    from textseg.imaging.read import read_picture
    from textseg.imaging.write import write_mask, write_overlay
    from textseg.text.prompt import read_prompt
    from textseg.text.sentence import canonical

    reading = read_prompt(options.prompt, options.laterality) if options.prompt.strip() else None
    picture = read_picture(options.image, options.modality)
    output = options.output or Path(f"{_stem(options.image)}_mask.nii.gz")
    _check_outputs(options.image, output, options.overlay)
    predictor = _predictor(options)
    finding, bilateral = (reading.finding, reading.bilateral) if reading else (None, None)
    prediction = predictor.predict(picture, finding, bilateral)
    write_mask(picture, prediction.masks, output)
    if options.overlay:
        write_overlay(picture, prediction.masks, options.overlay)
    report = {
        "mask": str(output),
        "pixels": int(prediction.masks.sum()),
        "canonical": canonical(finding),
        "finding": finding.to_json() if finding else None,
        "warnings": [*(reading.warnings if reading else ()), *prediction.warnings],
        "model_name": predictor.spec.name,
        "model_version": predictor.version,
    }
    if options.json:
        _print_json(report)
        return
    for warning in report["warnings"]:
        print(f"textseg: {warning}", file=sys.stderr)
    print(f"{output}: {report['pixels']} pixels; read as: {report['canonical'] or 'no prompt'}")


def evaluate(options: argparse.Namespace) -> None:
    """Score a model beside no text, shuffled and mirrored text."""
    from textseg.data.records import data_folder, read_records
    from textseg.engine.evaluate import evaluate

    paper = options.protocol == "paper"
    with data_folder(options.data) as folder:
        records = read_records(folder, options.split, options.split_column, options.laterality)
        predictor = _predictor(options)
        scores = evaluate(predictor, records, options.seed, paper)
    report = {
        "model_name": predictor.spec.name,
        "model_version": predictor.version,
        "data": options.data.name,
        "split": options.split,
        "protocol": options.protocol,
        "seed": options.seed,
        **scores.report(paper),
    }
    if options.csv:
        _write_csv(options.csv, scores.rows)
    if options.json:
        _print_json(report)
    else:
        _print_scores(report)


def train(options: argparse.Namespace) -> None:
    """Train a model, or go on with a training that was broken off."""
    spec = model_spec(options.model)
    if (options.epochs is not None and options.epochs < 1) or (options.phantoms or 0) < 0:
        raise DataError("--epochs is 1 or more, --phantoms 0 or more. Correct them.")
    from textseg.engine.fit import fit

    output = options.output or Path("runs") / spec.name
    path = fit(
        spec,
        options.data,
        output,
        options.seed,
        options.laterality,
        options.split_column,
        options.epochs,
        options.phantoms,
        options.device,
        options.licence,
    )
    print(f"{path}: use it with --weights")


def samples(options: argparse.Namespace) -> None:
    """Draw the sample studies."""
    from textseg.data.sample_studies import write_sample_studies

    for path in write_sample_studies(options.folder):
        print(path)


def forget(options: argparse.Namespace) -> None:
    """Erase everything that is kept of a picture."""
    from textseg.data.store.forget import forget

    erased = forget(options.studies, options.image)
    for path in erased:
        print(f"erased {path}")
    if not erased:
        print(f"Nothing was kept of {options.image}.")
    print("The picture itself and its row in prompts.csv, if it has one, are as they were.")


def read(options: argparse.Namespace) -> None:
    """Say how prompts are understood: one from the command line, or one per line of a file."""
    prompts = _lines(options.file) if options.file else [options.prompt]
    readings = [_told(prompt, options.laterality) for prompt in prompts]
    for reading in readings:
        if options.json:
            print(json.dumps(reading, ensure_ascii=False))
        elif reading["understood"]:
            print(reading["canonical"], *reading["warnings"], sep="\n  ")
        else:
            print(f"textseg: {reading['warnings'][0]}", file=sys.stderr)
    if not options.file and not readings[0]["understood"]:
        raise SystemExit(PromptError.exit_code)


def _told(prompt: str, laterality: str) -> dict[str, Any]:
    """One prompt's Finding (patient sides), whether it was understood, warnings or refusal, canonical sentence."""
    from textseg.text.finding import Finding
    from textseg.text.prompt import read_prompt
    from textseg.text.sentence import canonical

    try:
        reading = read_prompt(prompt, laterality)
    except PromptError as error:
        return {"prompt": prompt, "understood": False, "warnings": [str(error)], "canonical": "", **Finding().to_json()}
    told = {"understood": True, "warnings": list(reading.warnings), "canonical": canonical(reading.finding)}
    return {"prompt": prompt, **told, **reading.finding.to_json()}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no text in UTF-8 ({error}). Give a file with one prompt per line.") from error


def bench(options: argparse.Namespace) -> None:
    """Print how long reading takes, and how many times a plain ITK read that is; and how long a prompt takes."""
    from textseg.engine.bench import time_prompts, time_reading

    for name, seconds in time_prompts(options.repeats).items():
        print(f"{name:44} {1000 * seconds:>8.2f} ms")
    print(f"{'picture':26} {'to network input':>17} {'plain ITK read':>15} {'ratio':>6}   (seconds, medians)")
    for timing in time_reading(options.repeats):
        ratio = timing.ours / timing.plain
        print(f"{timing.name:26} {timing.ours:>17.3f} {timing.plain:>15.3f} {ratio:>6.2f}")


def _check_outputs(image: Path, output: Path, overlay: Path | None) -> None:
    """Before the work is done: a mask's suffix, folders that are there, and never the picture itself."""
    from textseg.imaging.write import check_mask_name

    check_mask_name(output)
    for path in (output, overlay):
        if path and path.exists() and path.samefile(image):
            raise DataError(f"{path} is the picture itself: it would be overwritten. Give another name.")
        if path and not path.parent.is_dir():
            raise DataError(f"There is no folder {path.parent}. Make it, or give another name.")


def _stem(image: Path) -> str:
    """A file's name without its suffix; a folder's whole name."""
    from textseg.imaging.kinds import stem_of

    return image.resolve().name if image.is_dir() else stem_of(image)


def _predictor(options: argparse.Namespace) -> Any:
    spec = model_spec(options.model)
    if options.weights is None:
        require_weights(spec)
    from textseg.engine.predictor import Predictor

    return Predictor.load(spec, options.weights)


def _print_scores(report: dict[str, Any]) -> None:
    print(f"{report['model_name']} {report['model_version']}, {report['data']}, {report['rows']} pictures")
    columns = ("dice_image", "iou_image", "dice_micro", "iou_micro")
    print(f"{'text':22}" + "".join(f"{column:>12}" for column in columns))
    for text, score in {**report["texts"], "mirrored, one-sided": report["mirrored_one_sided"]}.items():
        if score:
            print(f"{text:22}" + "".join(f"{score[column]:>12.4f}" for column in columns))
    one = report["one_side"]
    if one["questions"]:
        print(f"one_side: share {one['share']:.4f}, dice_image {one['dice_image']:.4f}, {one['questions']} questions")


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, keys)
        table.writeheader()
        table.writerows(rows)


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, indent=2))
