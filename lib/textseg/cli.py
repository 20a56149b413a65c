"""The command line: `textseg COMMAND`, see `textseg --help`.

Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 bad input, 3 weights missing.
What the commands do is in `commands`.
"""

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

from textseg import __version__
from textseg.commands import batch, learning, models, pictures, prompts, status, versions
from textseg.errors import TextSegError
from textseg.registry import DEFAULT_MODEL, MODELS


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
    parsers = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_info(parsers)
    _add_predict(parsers)
    _add_batch(parsers)
    _add_evaluate(parsers)
    _add_train(parsers)
    _add_versions(parsers)
    _add_learning_curve(parsers)
    _add_fetch(parsers)
    _add_read(parsers)
    _add_cost(parsers)
    samples = parsers.add_parser("samples", help="write drawn sample studies into a folder")
    samples.add_argument("folder", type=Path)
    samples.set_defaults(run=pictures.samples)
    forget = parsers.add_parser("forget", help="erase all prompts, labels, trash and caches of a picture for good")
    forget.add_argument("image", help="the picture's name in the studies; the picture itself stays")
    forget.add_argument("--studies", type=Path, required=True, help="the folder that the server was started with")
    forget.set_defaults(run=pictures.forget)
    bench = parsers.add_parser("bench", help="time reading pictures beside a plain ITK read of the same files")
    bench.add_argument("--repeats", type=int, default=7)
    bench.add_argument("--next-sample", action="store_true", help="instead, time clicks on Next Sample")
    bench.add_argument("--pictures", type=int, default=5000, help="among so many scored ones; default: 5000")
    bench.add_argument("--clicks", type=int, default=200, help="default: 200")
    bench.set_defaults(run=pictures.bench)
    return parser


def _add_info(parsers: Any) -> None:
    info = parsers.add_parser("info", help="list the models and whether their weights are here")
    info.add_argument("--json", action="store_true")
    info.set_defaults(run=models.info)


def _add_read(parsers: Any) -> None:
    read = parsers.add_parser("read", help="say how a prompt is understood")
    what = read.add_mutually_exclusive_group(required=True)
    what.add_argument("prompt", nargs="?")
    what.add_argument("--file", type=Path, help="one prompt per line")
    read.add_argument("--laterality", choices=("patient", "picture"), default="patient", help="whose sides it names")
    read.add_argument("--json", action="store_true", help="one object per prompt, in patient sides")
    read.set_defaults(run=prompts.read)


def _add_cost(parsers: Any) -> None:
    cost = parsers.add_parser("cost", help="count weights and multiply-adds beside the published figures")
    cost.add_argument("models", nargs="*", metavar="MODEL", help=f"of {', '.join(MODELS)}; default: all")
    cost.add_argument("--json", action="store_true")
    cost.add_argument(
        "--time", action="store_true", help="also time full passes on the CPU, in turn with those of c2fvl"
    )
    cost.add_argument("--repeats", type=int, default=15, help="timed passes of each model; default: 15")
    cost.set_defaults(run=models.cost)


def _add_predict(parsers: Any) -> None:
    predict = parsers.add_parser("predict", help="segment one picture")
    predict.add_argument("image", type=Path, help="a picture file, or a folder that holds one DICOM series")
    predict.add_argument("--prompt", default="", help="what to segment; without it, infection anywhere")
    _add_model(predict)
    _add_modality(predict)
    predict.add_argument("-o", "--output", type=Path, help="mask file; default: beside you, IMAGE_mask.nii.gz")
    predict.add_argument("--overlay", type=Path, help="also write the picture with the mask on it, as PNG")
    predict.add_argument("--json", action="store_true")
    predict.set_defaults(run=pictures.predict)


def _add_batch(parsers: Any) -> None:
    many = parsers.add_parser("batch", help="segment the pictures of a table; called again, it goes on")
    many.add_argument("--prompts", type=Path, required=True, help="CSV with the columns image,prompt")
    many.add_argument("--output", type=Path, required=True, help="folder for masks/, overlays/ and table.csv")
    many.add_argument("--images", type=Path, help="folder with the pictures; default: images/ beside the table, or it")
    _add_model(many)
    _add_modality(many)
    many.add_argument("--json", action="store_true")
    many.set_defaults(run=batch.batch)


def _add_evaluate(parsers: Any) -> None:
    evaluate = parsers.add_parser("evaluate", help="score a model on pictures with masks and sentences")
    evaluate.add_argument("--data", type=Path, required=True, help="folder or zip: images/, masks/, prompts.csv")
    evaluate.add_argument("--split", help="only the rows whose split column says so")
    evaluate.add_argument("--split-column", default="split")
    _add_model(evaluate)
    evaluate.add_argument("--protocol", choices=("product", "paper"), default="product")
    evaluate.add_argument("--seed", type=int, default=0, help="for the shuffled sentences")
    evaluate.add_argument("--csv", type=Path, help="write a table with one line per picture")
    evaluate.add_argument("--json", action="store_true")
    evaluate.set_defaults(run=models.evaluate)


def _add_train(parsers: Any) -> None:
    train = parsers.add_parser("train", help="train a model; called again, it goes on where it was broken off")
    train.add_argument("model", help=f"one of {', '.join(MODELS)}")
    train.add_argument("--data", type=Path, required=True, help="folder or zip with splits train and valid")
    train.add_argument("--split-column", default="split")
    train.add_argument("--laterality", choices=("patient", "picture"), default="patient")
    train.add_argument("--output", type=Path, help="default: runs/MODEL")
    train.add_argument("--epochs", type=int, help="in one fall of the learning rate; default: the recipe's")
    train.add_argument("--phantoms", type=int, help="drawn pictures added to the training part; default: the recipe's")
    train.add_argument("--batch", type=int, help="pictures at a time, of all GPUs together; default: the recipe's")
    train.add_argument("--accumulate", type=int, help="batches of a step of the optimizer; default: the recipe's")
    train.add_argument("--workers", type=int, default=1, help="processes that prepare batches; default: 1")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--recipe", help="one of the model's recipes; default: its first")
    train.add_argument(
        "--reads",
        choices=("canonical", "verbatim"),
        default="canonical",
        help="what the text encoder reads: our canonical sentence, or the data's own words, for another domain",
    )
    train.add_argument(
        "--flips",
        action="store_true",
        help="with --reads verbatim: flip pictures as the recipe says, exchanging left and right in English words",
    )
    _add_pretrained(train)
    train.add_argument(
        "--random-encoders", action="store_true", help="start from random instead of pretrained encoders, to try out"
    )
    train.add_argument("--licence", help="the terms of the weights, for the manifest")
    train.add_argument("--device", help="cpu, cuda or cuda:N; default: a GPU where there is one")
    train.set_defaults(run=models.train)


def _add_versions(parsers: Any) -> None:
    listed = parsers.add_parser(
        "versions", help="list the versions that a server learnt, the gate's verdicts, what serves"
    )
    listed.add_argument("--json", action="store_true")
    listed.add_argument("--keep", type=int, metavar="N", help="delete all but the newest N and the one that serves")
    listed.set_defaults(run=versions.versions)
    back = parsers.add_parser("rollback", help="let an earlier version serve, without a restart of the server")
    back.add_argument(
        "--to", metavar="VERSION", help="as v0003; v0000: what the server was started with; default: one back"
    )
    back.set_defaults(run=versions.rollback)
    left = parsers.add_parser(
        "status", help="what serves, what is labelled, how far a training is, what is worth most to label; what to do"
    )
    left.add_argument("models", nargs="*", metavar="MODEL", help="default: those that something was learnt of")
    left.add_argument("--studies", type=Path, default=Path("studies"), help="folder that the server was started with")
    left.add_argument("--json", action="store_true")
    left.set_defaults(run=status.status)
    for command in (listed, back):
        command.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=f"default: {DEFAULT_MODEL}")
    for command in (listed, back, left):
        command.add_argument(
            "--app", type=Path, default=Path("apps/textseg"), help="folder that the server was started with"
        )
        command.add_argument("--weights", type=Path, metavar="FOLDER", help="as the server's --conf weights")
        _add_pretrained(command)


def _add_learning_curve(parsers: Any) -> None:
    curve = parsers.add_parser(
        "learning-curve", help="simulate rounds of corrections on a data set; called again, it goes on"
    )
    curve.add_argument("--data", type=Path, required=True, help="folder or zip with splits train and valid")
    curve.add_argument("--split-column", default="split", help='"" for none; then with --measured')
    curve.add_argument("--measured", type=int, metavar="N", help="measure by N pictures drawn by the seed, not valid")
    curve.add_argument("--masks", metavar="FOLDER", help="of the data set, instead of masks/: another style")
    curve.add_argument("--laterality", choices=("patient", "picture"), default="patient")
    curve.add_argument("--model", default="c2fvl-compact", help="default: c2fvl-compact, the quickest to train")
    curve.add_argument("--output", type=Path, default=Path("runs/learning-curve"), help="default: runs/learning-curve")
    curve.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    curve.add_argument("--base", type=int, default=24, help="pictures that the base knows; 0: begin with --weights")
    curve.add_argument("--base-epochs", type=int, default=25)
    curve.add_argument("--phantoms", type=int, default=60, help="drawn pictures that the base knows as well")
    curve.add_argument("--weights", type=Path, help="with --base 0: a weights file; default: the shipped one")
    curve.add_argument("--rounds", type=int, default=2)
    curve.add_argument("--corrections", type=int, default=30, help="of each round")
    curve.add_argument("--epochs", type=int, default=5, help="of each retraining")
    curve.add_argument("--choose", nargs="+", metavar="WAY", help="side by side: uniform, active, equal, diverse")
    curve.add_argument("--pool", type=int, default=200, help="with --choose: pictures to choose from; default: 200")
    curve.add_argument("--reference", type=Path, help="as the server's --conf reference")
    curve.add_argument("--replay", type=Path, help="as the server's --conf replay")
    curve.add_argument("--app", type=Path, help="the app's folder: the first seed's rounds go through a real server")
    _add_pretrained(curve)
    curve.add_argument("--json", action="store_true")
    curve.set_defaults(run=learning.learning_curve)


def _add_fetch(parsers: Any) -> None:
    fetch = parsers.add_parser("fetch", help="bring pretrained encoders here, for good; nothing else asks a hub")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="what to fetch; none: list what there is")
    fetch.add_argument("--to", type=Path, help="folder; default: TEXTSEG_PRETRAINED, or in the user's data folder")
    fetch.add_argument("--endpoint", metavar="URL", help="address of the hub; default: HF_ENDPOINT, or huggingface.co")
    fetch.add_argument("--json", action="store_true")
    fetch.set_defaults(run=models.fetch)


def _add_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--model", default=DEFAULT_MODEL)
    command.add_argument("--weights", type=Path, help="a weights file that you trained, with its manifest beside it")
    _add_pretrained(command)
    command.add_argument("--laterality", choices=("patient", "picture"), default="patient", help="whose sides it names")


def _add_modality(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--modality", choices=("auto", "xray", "ct"), default="auto", help="what a picture is, if not what it says"
    )


def _add_pretrained(command: argparse.ArgumentParser) -> None:
    command.add_argument("--pretrained", type=Path, help="folder of pretrained encoders, see `textseg fetch`")


if __name__ == "__main__":
    sys.exit(main())
