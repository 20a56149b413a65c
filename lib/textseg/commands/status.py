"""What is left to do: what serves, what is labelled, how far a training is, which pictures are worth most to label."""

import argparse
from collections.abc import Iterator
from typing import Any

from textseg.commands.shared import print_json
from textseg.commands.versions import versions_in
from textseg.errors import OptionError, WeightsMissing
from textseg.registry import DEFAULT_MODEL, MODELS

BEST = 10


def status(options: argparse.Namespace) -> None:
    """Print it; also beside a server that runs, and nothing is changed."""
    if not options.studies.is_dir():
        raise OptionError(
            f"There is no folder {options.studies}. Name the folder that the server was started with, by --studies."
        )
    found = _status(options)
    if options.json:
        print_json(found.to_json())
    else:
        print(*_lines(found), sep="\n")


def _status(options: argparse.Namespace) -> Any:
    from textseg.data.prompts_table import PromptsTable
    from textseg.server.facts import StudiesFacts, last_training, model_facts
    from textseg.server.pictures import PictureFolder
    from textseg.server.status import Status

    pictures = PictureFolder(options.studies)
    versions = [versions_in(options, name) for name in options.models or _learnt(options)]
    pictures.refresh()
    facts = StudiesFacts(options.studies, pictures.ids, PromptsTable(options.studies))
    models = tuple(map(model_facts, versions))
    faults: list[str] = []
    counts = facts.pictures(last_training(models), faults)
    best = facts.best(facts.ranked_as_kept(_weights(versions[0])).best(BEST))
    return Status(models, counts, best, tuple(faults))


def _weights(versions: Any) -> str:
    """SHA-256 of those that serve; "" where none can."""
    try:
        return str(versions.served().manifest.get("sha256", ""))
    except WeightsMissing:
        return ""


def _learnt(options: argparse.Namespace) -> list[str]:
    """The models that something was learnt of in --app; else the default one."""
    return [name for name in MODELS if (options.app / "model" / name).is_dir()] or [DEFAULT_MODEL]


def _lines(status: Any) -> Iterator[str]:
    for model in status.models:
        yield from _model(model)
    counts = status.pictures
    yield (
        f"pictures: {counts.total}; {counts.labelled} with a final label ({counts.labelled_since} since the last "
        f"training began), {counts.unlabelled} without ({counts.original} of them with a mask made before)"
    )
    yield f"prompts: {counts.with_prompt} pictures with, {counts.without_prompt} without"
    yield f"held out, to judge: {counts.held_out}"
    yield from status.faults
    if status.best:
        yield "worth most to label:"
    for best in status.best:
        yield f"  {best.picture}: {best.reason}"
        yield f"    {best.prompt or 'no prompt'}"
    yield f"next: {status.next_step}"


def _model(model: Any) -> Iterator[str]:
    since = f", {model.why} {model.since}" if model.why else ""
    yield f"{model.name}: {model.version or 'nothing'} serves{since}"
    yield from (f"  {sentence}" for sentence in model.told)
    if model.verdict:
        became = "published" if model.verdict.accepted else "kept back"
        yield f"  last candidate: {model.verdict.version}, {became} {model.verdict.time}: {model.verdict.sentence}"
    training = model.training
    if training:
        how_far = f"epoch {training.epoch} of {training.epochs}, {training.time or '0:00:00'}"
        yield f"  training: {training.state}, {training.sentence or how_far}"
        yield from (f"  not trained on: {sentence}" for sentence in training.left_out)
