"""Models: which there are, what they cost and are built on, how good they are; and training."""

import argparse
import csv
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from textseg import __version__
from textseg.commands.shared import predictor_of, print_json
from textseg.errors import DataError, OptionError
from textseg.registry import DEFAULT_MODEL, MODELS, ModelSpec, model_spec


def info(options: argparse.Namespace) -> None:
    """List the models and whether they can be used, or why not."""
    from textseg.engine.ready import not_ready

    models = [
        {
            "name": spec.name,
            "title": spec.title,
            "paper": spec.paper,
            "parameters": spec.parameters,
            "weights": spec.has_weights,
            "ready": (reason := not_ready(spec)) is None,
            "reason": reason,
            "pretrained": _pretrained(spec),
            "default": spec.name == DEFAULT_MODEL,
        }
        for spec in MODELS.values()
    ]
    if options.json:
        print_json({"version": __version__, "models": models})
        return
    for model in models:
        state = "ready" if model["ready"] else "not offered to viewers"
        print(f"{model['name']:15} {model['parameters']:>11,} weights  {state}  {model['title']}")
        if model["reason"]:
            print(f"{'':15} {model['reason']}")
        for name, state in model["pretrained"].items():
            print(f"{'':15} {name}: {state}")


def _pretrained(spec: ModelSpec) -> dict[str, str]:
    """For each of the pretrained weights that a model is built on: whether they are here, or what is wrong."""
    from textseg.engine.pretrained import pretrained_entry, state_of

    return {name: state_of(pretrained_entry(name)) for name in spec.pretrained}


def cost(options: argparse.Namespace) -> None:
    """Print weights and multiply-adds beside the published figures, and how long passes take if asked."""
    specs = [model_spec(name) for name in dict.fromkeys(options.models or MODELS)]
    from textseg.engine.cost import cost_report, cost_table

    report = cost_report(specs, options.repeats if options.time else None)
    if options.json:
        print_json(report)
    else:
        print(*cost_table(report), sep="\n")


def fetch(options: argparse.Namespace) -> None:
    """Fetch pretrained encoders; without names, list them."""
    from textseg.engine.pretrained import PRETRAINED, pretrained_entry, pretrained_folder, state_of

    entries = [pretrained_entry(name) for name in options.names] or list(PRETRAINED.values())
    reports = []
    for entry in entries:
        report = {key: getattr(entry, key) for key in ("name", "title", "licence", "address", "size")}
        if options.names:
            report |= _fetched(entry, options)
        else:
            report |= {"folder": str(pretrained_folder(options.to) / entry.name), "state": state_of(entry, options.to)}
            if not options.json:
                print(f"{entry.name:15} {entry.size / 1e6:>5.0f} MB  licence {entry.licence:11} {report['state']}")
        reports.append(report)
    if options.json:
        print_json(reports)


def _fetched(entry: Any, options: argparse.Namespace) -> dict[str, Any]:
    from textseg.engine.fetch import fetch

    if not options.json:
        print(f"{entry.name}: {entry.title}, licence {entry.licence}, {entry.address}", flush=True)
    try:
        done = fetch(entry.name, options.to, options.endpoint)
    except KeyboardInterrupt:
        print(f"\ntextseg: broken off; textseg fetch {entry.name} goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
    if not options.json:
        print(done)
    return {"folder": str(done.folder), "commit": done.commit, "fetched": list(done.downloaded)}


def train(options: argparse.Namespace) -> None:
    """Train a model, or go on with a training that was broken off."""
    spec = model_spec(options.model)
    least = {"epochs": 1, "batch": 1, "accumulate": 1, "phantoms": 0, "workers": 0}
    for name, smallest in least.items():
        value = getattr(options, name)
        if value is not None and value < smallest:
            raise DataError(f"--{name} is {smallest} or more, not {value}. Correct it.")
    if options.reads == "verbatim" and options.phantoms:
        raise OptionError("Phantoms speak our canonical language, no words of yours: leave --phantoms or --reads away.")
    from textseg.engine.fit import Assignment, fit
    from textseg.engine.recipe import recipe_of

    changes = {name: getattr(options, name) for name in ("epochs", "phantoms", "batch", "accumulate")}
    recipe = replace(recipe_of(spec, options.recipe), **{key: v for key, v in changes.items() if v is not None})
    task = Assignment(
        spec,
        recipe,
        options.data,
        options.output or Path("runs") / spec.name,
        seed=options.seed,
        laterality=options.laterality,
        split_column=options.split_column,
        device=options.device,
        workers=options.workers,
        licence=options.licence,
        verbatim=options.reads == "verbatim",
        flips=options.flips,
        pretrained=options.pretrained,
        random_encoders=options.random_encoders,
    )
    if path := fit(task):  # one of several processes tells it
        print(f"{path}: use it with --weights")


def evaluate(options: argparse.Namespace) -> None:
    """Score a model beside no text, shuffled and mirrored text."""
    from textseg.data.records import data_folder, read_records
    from textseg.engine.evaluate import evaluate

    paper = options.protocol == "paper"
    with data_folder(options.data) as folder:
        predictor = predictor_of(options)
        records = read_records(folder, options.split, options.split_column, options.laterality, predictor.spoken)
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
        print_json(report)
    else:
        _print_scores(report)


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
