"""The command line: `textseg info | predict | evaluate | train | samples`.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 bad input, 3 weights missing.
Commands import what they need when they run, so that `textseg info` starts without torch.
"""

import argparse
import csv
import json
import logging
import sys
from pathlib import Path
from typing import Any

from textseg import __version__
from textseg.errors import DataError, TextSegError
from textseg.registry import DEFAULT_MODEL, MODELS, model_spec, require_weights


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(message)s")
    try:
        options.run(options)
    except TextSegError as error:
        print(f"textseg: {error}", file=sys.stderr)
        return error.exit_code
    except (OSError, RuntimeError) as error:
        print(f"textseg: failed: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="textseg", description="Text-prompted segmentation of lung infection.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--verbose", action="store_true", help="say what is being done, on stderr")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_info(commands)
    _add_predict(commands)
    _add_evaluate(commands)
    _add_train(commands)
    samples = commands.add_parser("samples", help="write drawn sample studies into a folder")
    samples.add_argument("folder", type=Path)
    samples.set_defaults(run=_samples)
    return parser


def _add_info(commands: Any) -> None:
    info = commands.add_parser("info", help="list the models and whether their weights are here")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=_info)


def _add_predict(commands: Any) -> None:
    predict = commands.add_parser("predict", help="segment one picture")
    predict.add_argument("image", type=Path)
    predict.add_argument("--prompt", default="", help="what to segment; without it, infection anywhere")
    _add_model(predict)
    predict.add_argument("-o", "--output", type=Path, help="mask file; default: beside you, IMAGE_mask.nii.gz")
    predict.add_argument("--overlay", type=Path, help="also write the picture with the mask on it, as PNG")
    predict.add_argument("--json", action="store_true")
    predict.set_defaults(run=_predict)


def _add_evaluate(commands: Any) -> None:
    evaluate = commands.add_parser("evaluate", help="score a model on pictures with masks and sentences")
    evaluate.add_argument("--data", type=Path, required=True, help="folder or zip: images/, masks/, prompts.csv")
    evaluate.add_argument("--split", help="only the rows whose split column says so")
    evaluate.add_argument("--split-column", default="split")
    _add_model(evaluate)
    evaluate.add_argument("--protocol", choices=("product", "paper"), default="product")
    evaluate.add_argument("--seed", type=int, default=0, help="for the shuffled sentences")
    evaluate.add_argument("--csv", type=Path, help="write a table with one line per picture")
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(run=_evaluate)


def _add_train(commands: Any) -> None:
    train = commands.add_parser("train", help="train a model; called again, it goes on where it was broken off")
    train.add_argument("model", help=f"one of {', '.join(MODELS)}")
    train.add_argument("--data", type=Path, required=True, help="folder or zip with splits train and valid")
    train.add_argument("--split-column", default="split")
    train.add_argument("--laterality", choices=("patient", "picture"), default="patient")
    train.add_argument("--output", type=Path, help="default: runs/MODEL")
    train.add_argument("--epochs", type=int, help="default: the recipe's")
    train.add_argument("--phantoms", type=int, help="drawn pictures added to the training part; default: the recipe's")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--licence", help="the terms of the weights, for the manifest")
    train.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    train.set_defaults(run=_train)


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=DEFAULT_MODEL)
    command.add_argument("--weights", type=Path, help="a weights file that you trained, with its manifest beside it")
    command.add_argument("--laterality", choices=("patient", "picture"), default="patient", help="whose sides it names")


def _info(options: argparse.Namespace) -> None:
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


def _predict(options: argparse.Namespace) -> None:
    from textseg.imaging.read import read_picture, stem_of
    from textseg.imaging.write import write_mask, write_overlay
    from textseg.text.prompt import read_prompt
    from textseg.text.sentence import canonical

    reading = read_prompt(options.prompt, options.laterality) if options.prompt.strip() else None
    picture = read_picture(options.image)
    predictor = _predictor(options)
    finding, bilateral = (reading.finding, reading.bilateral) if reading else (None, None)
    prediction = predictor.predict(picture, finding, bilateral)
    output = options.output or Path(f"{stem_of(options.image)}_mask.nii.gz")
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


def _evaluate(options: argparse.Namespace) -> None:
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


def _train(options: argparse.Namespace) -> None:
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


def _samples(options: argparse.Namespace) -> None:
    from textseg.data.sample_studies import write_sample_studies

    for path in write_sample_studies(options.folder):
        print(path)


def _predictor(options: argparse.Namespace) -> Any:
    spec = model_spec(options.model)
    if options.weights is None:
        require_weights(spec)
    from textseg.engine.predictor import Predictor

    return Predictor(spec, weights=options.weights)


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


if __name__ == "__main__":
    sys.exit(main())
