"""The settings of `monailabel start_server ... --conf KEY VALUE`."""

import logging
from collections.abc import Mapping
from pathlib import Path

from textseg.errors import OptionError

SETTINGS = (
    "models",
    "weights",
    "pretrained",
    "reference",
    "replay",
    "publish",
    "retrain_after",
    "scoring",
    "allow_remote",
    "server_mode",
)
ON, OFF = ("true", "1", "yes", "on"), ("false", "0", "no", "off", "")
logger = logging.getLogger(__name__)


def is_on(conf: Mapping[str, str], key: str) -> bool:
    """A setting that is true or false; anything else is told and counts as false."""
    value = str(conf.get(key, "")).strip().lower()
    if value not in (*ON, *OFF):
        logger.warning("--conf %s takes true or false, not %s: it counts as false", key, value)
    return value in ON


def count_of(conf: Mapping[str, str], key: str) -> int:
    """A setting that is a whole number from 0 on, 0 where it is not set. Raises OptionError for anything else."""
    value = str(conf.get(key, "") or "0").strip()
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise OptionError(f"--conf {key} takes a whole number from 0 on, not {value[:40]!r}.")
    return int(value)


def choice_of(conf: Mapping[str, str], key: str, choices: tuple[str, ...]) -> str:
    """A setting that is one of some words, the first where it is not set. Raises OptionError for anything else."""
    value = str(conf.get(key, "") or choices[0]).strip()
    if value not in choices:
        raise OptionError(f"--conf {key} is one of {', '.join(choices)}, not {value[:40]!r}.")
    return value


def path_of(conf: Mapping[str, str], key: str) -> Path | None:
    """A setting that is a folder or a file; None where it is not set. Raises OptionError where nothing is there."""
    if not conf.get(key):
        return None
    path = Path(conf[key]).expanduser()
    if not path.exists():
        raise OptionError(f"--conf {key} {path}: there is nothing of that name. Name another, or leave it away.")
    return path
