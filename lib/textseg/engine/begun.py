"""What a training is, written beside its checkpoints, so that one is never gone on with as another."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from textseg.data.records import Record
from textseg.data.store.durable import from_json, to_json, write_whole
from textseg.engine.checkpoints import RESUME
from textseg.errors import OptionError
from textseg.text.encoder import TextEncoder

TASK = "task.json"
UNWRITTEN = {"accumulate": 1, "frozen_norms": False}  # what earlier versions did, which did not write it
SHORT = 40  # characters; a longer value is a hash or a list, which tells a person nothing


def begin(folder: Path, told: Mapping[str, Any]) -> None:
    """Write what is trained into the folder of checkpoints; where there are some, it must be the same training.

    told: as JSON has it, with the recipe under "recipe". Only its epochs may have become more, where that leaves those
    that are done as they were, and the pictures of a step may pass in other batches. Raises OptionError, which names
    what differs.
    """
    told = json.loads(json.dumps(told))
    if any(folder.glob(f"{RESUME}*.pt")):
        before = _told_before(folder)
        other = _differences(before, told)
        if other:
            raise OptionError(
                f"{folder.parent} holds a training with other options: {', '.join(other)}. Give the same options to go "
                "on with it, or name another folder (--output)."
            )
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / TASK, to_json(told), folder)


def rows_told(records: Iterable[Record]) -> dict[str, Any]:
    """How many rows there are, and a hash of their names and sentences, wherever they lie."""
    lines = [f"{record.name}\t{record.prompt}" for record in records]
    return {"rows": len(lines), "sentences": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def encoder_told(encoder: TextEncoder | None) -> dict[str, Any] | None:
    """What stays as it is in training: a hash of all of a frozen text encoder, of the words of one that is trained."""
    if encoder is None:
        return None
    words = hashlib.sha256("\n".join(encoder.vocabulary).encode()).hexdigest()
    hash_ = encoder.identity() if encoder.frozen else words
    return {"sha256": hash_, "width": encoder.width, "length": encoder.length}


def _told_before(folder: Path) -> dict[str, Any]:
    path = folder / TASK
    try:
        told = from_json(path.read_bytes(), str(path))
        int(told["recipe"]["epochs"])
        told["recipe"] = {**UNWRITTEN, **told["recipe"]}
        return {key: value for key, value in told.items() if key != "schema"}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OptionError(
            f"{folder} holds checkpoints that do not say what was trained: {TASK} is damaged, or missing, as earlier "
            "versions did not write it. Name another folder (--output), or go on with the version that began them."
        ) from error


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    first, second = dict(_flat(before)), dict(_flat(now))
    other = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    if _may_be_longer(before["recipe"], now["recipe"]):
        other = [key for key in other if key != "recipe.epochs"]
    if _step(before["recipe"]) == _step(now["recipe"]):
        other = [key for key in other if key not in ("recipe.batch", "recipe.accumulate")]
    return [_difference(key, first.get(key), second.get(key)) for key in other]


def _difference(key: str, before: object, now: object) -> str:
    short = max(len(str(before)), len(str(now))) <= SHORT
    return f"{key} {before}, now {now}" if short else f"{key} changed"


def _flat(told: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in told.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _may_be_longer(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether there are more epochs now, and neither learning rate nor choice of those before hung on their number."""
    bound = now["schedule"] == "cosine" and now["period"] is None
    return now["epochs"] > before["epochs"] >= now["first_kept"] and not bound


def _step(recipe: Mapping[str, Any]) -> int:
    """Pictures of a step of the optimizer."""
    return recipe["batch"] * recipe["accumulate"]
