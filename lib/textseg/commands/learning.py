"""Learning from corrections, simulated on a data set: does a model get better by it?"""

import argparse
import json
from collections.abc import Callable
from typing import Any

from textseg.commands.shared import print_json
from textseg.errors import OptionError
from textseg.registry import model_spec

LEAST = {"base": 0, "base_epochs": 1, "phantoms": 0, "rounds": 1, "corrections": 1, "epochs": 1, "measured": 1}


def learning_curve(options: argparse.Namespace) -> None:
    """Train bases, correct and retrain in rounds, measure; print a table, and write it with a picture into --output."""
    _check(options)
    from textseg.data.records import data_folder
    from textseg.engine.trainer import denormals_as_zero
    from textseg.learning.curve import Curve, run_curve
    from textseg.learning.curve_report import draw_curve, report_of, table_of
    from textseg.learning.lessons import Source

    kept = ("base", "base_epochs", "phantoms", "weights", "rounds", "corrections", "epochs", "reference", "replay")
    with denormals_as_zero(), data_folder(options.data) as folder:
        source = Source(folder, options.laterality, options.split_column, options.measured, options.masks or "")
        given = {name: getattr(options, name) for name in (*kept, "pretrained")}
        curve = Curve(model_spec(options.model), source, **given)
        if options.choose:
            _contest(curve, options)
            return
        results = run_curve(curve, options.output, options.seeds, _teachers(options))
    report, table = report_of(results), table_of(results)
    title = f"{curve.spec.name}, {curve.rounds} rounds of {curve.corrections} corrections, {options.data.name}"
    title += f"; seed {options.seeds[0]} through a server" if options.app else ""
    draw_curve(results, title, options.output / "curve.png")
    (options.output / "curve.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (options.output / "curve.txt").write_text("\n".join([title, *table]) + "\n", encoding="utf-8")
    if options.json:
        print_json(report)
    else:
        print(title, *table, f"{options.output}: curve.txt, curve.json, curve.png", sep="\n")


def _contest(curve: Any, options: argparse.Namespace) -> None:
    """Ways to choose what is corrected, side by side."""
    from textseg.learning.contest import Contest, run_contest
    from textseg.learning.contest_report import draw_contest, summary_of, table_of

    results = run_contest(Contest(curve, options.pool), options.output, options.seeds, options.choose)
    title = f"{curve.spec.name}, {curve.rounds} rounds of {curve.corrections} of {options.pool}, {options.data.name}"
    table = table_of(results, curve.corrections)
    draw_contest(results, title, options.output / "contest.png")
    (options.output / "contest.txt").write_text("\n".join([title, *table]) + "\n", encoding="utf-8")
    if options.json:
        print_json(summary_of(results))
    else:
        print(title, *table, f"{options.output}: contest.txt, contest.png", sep="\n")


def _check(options: argparse.Namespace) -> None:
    for name, smallest in LEAST.items():
        value = getattr(options, name)
        if value is not None and value < smallest:
            raise OptionError(f"--{name.replace('_', '-')} is {smallest} or more, not {value}. Correct it.")
    if 0 < options.base < 8:
        raise OptionError("A base needs 8 pictures or more; with --base 0 the shipped weights or --weights are taken.")
    if options.base and options.weights:
        raise OptionError("--weights is what is corrected in place of a base of its own: add --base 0.")


def _teachers(options: argparse.Namespace) -> Callable[[int], Any]:
    """The first seed's rounds go through a real server where one is asked for."""
    from textseg.learning.curve import teach_in_process

    if options.app is None:
        return lambda seed: teach_in_process
    from textseg.server.taught import TeachOverHttp

    return lambda seed: TeachOverHttp(options.app) if seed == options.seeds[0] else teach_in_process
