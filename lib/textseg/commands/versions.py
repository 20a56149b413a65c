"""Versions of a model that a server learnt: which there are, what the gate said, which one serves; going back."""

import argparse
from collections.abc import Mapping
from typing import Any

from textseg.commands.shared import print_json
from textseg.errors import OptionError, WeightsMissing
from textseg.registry import model_spec


def versions(options: argparse.Namespace) -> None:
    """List the versions of a model and the verdicts on its candidates; --keep: delete old versions before."""
    known = versions_in(options, options.model)
    deleted = known.keep(options.keep) if options.keep is not None else []
    report = {"model": known.spec.name, "deleted": deleted, **_report(known)}
    if options.json:
        print_json(report)
    else:
        _print(report)


def rollback(options: argparse.Namespace) -> None:
    """Let an earlier version serve; a server that runs takes it with its next request."""
    known = versions_in(options, options.model)
    print(f"{known.spec.name}: {known.rollback(options.to)} serves")


def versions_in(options: argparse.Namespace, model: str) -> Any:
    """What lies of a model in --app, over the base of --weights. Raises UnknownModel, OptionError."""
    spec = model_spec(model)
    if not options.app.is_dir():
        raise OptionError(f"There is no folder {options.app}. Name the app's folder, as the server has it, by --app.")
    from textseg.learning.versions import Versions

    base = options.weights / f"{spec.name}.safetensors" if options.weights else None
    return Versions(options.app / "model" / spec.name, spec, base, options.pretrained)


def _report(known: Any) -> dict[str, Any]:
    try:
        served, told = known.served().version, list(known.served().told)
    except WeightsMissing as error:
        served, told = None, [str(error)]
    why, since = known.why()
    stored = [
        {
            "version": each.version,
            "time": each.time,
            "dice": _dice(each.report),
            "verdict": str(each.report.get("verdict", "")),
            "fault": each.fault,
            "state": _state(each, served),
        }
        for each in known.stored()
    ]
    verdicts = [
        {"version": each.version, "accepted": each.accepted, "time": each.time, "verdict": each.sentence}
        for each in known.verdicts()
    ]
    return {"served": served, "why": why, "since": since, "told": told, "versions": stored, "verdicts": verdicts}


def _state(stored: Any, served: str | None) -> str:
    if stored.version == served:
        return "serves"
    if stored.fault:
        return "cannot serve"
    return "rolled back from" if stored.withdrawn else "can serve"


def _dice(report: Mapping[str, Any]) -> str:
    """The gate's figures as one line: its text, or names with numbers; "" where it tells none."""
    told = report.get("dice", "")
    if not isinstance(told, Mapping):
        return str(told)
    return ", ".join(f"{name} {value:.4f}" for name, value in told.items() if isinstance(value, int | float))


def _print(report: dict[str, Any]) -> None:
    if report["deleted"]:
        print(f"deleted: {', '.join(report['deleted'])}")
    since = f", {report['why']} {report['since']}" if report["why"] else ""
    print(f"{report['model']}: {report['served'] or 'nothing'} serves{since}")
    for sentence in report["told"]:
        print(f"  {sentence}")
    print("v0000  the weights that the server was started with")
    stored = {version["version"]: version for version in report["versions"]}
    verdicts = {verdict["version"]: verdict for verdict in report["verdicts"]}
    for name in sorted({**stored, **verdicts}, key=lambda name: int(name[1:])):
        for line in _lines(stored.get(name), verdicts.get(name)):
            print(line)


def _lines(version: dict[str, Any] | None, verdict: dict[str, Any] | None) -> list[str]:
    """A candidate: version, time, what became of it; figures, verdict and fault below."""
    known = version or verdict
    state = version["state"] if version else "not here" if verdict["accepted"] else "rejected"
    below = [known.get("dice"), known["verdict"], known.get("fault")]
    return [f"{known['version']}  {known['time'] or '-':29}  {state}", *(f"       {line}" for line in below if line)]
