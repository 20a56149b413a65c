"""The folder of one model's versions: their numbers, which one serves, what the gate said of each candidate.

    served.json     which version serves, and why
    v0001/ ...      MODEL.safetensors, MODEL.json, gate.json
    verdicts/       what the gate said: NNNNNN.json of candidate vNNNN, published or rejected

What is damaged is passed over or told, never raised. Imports no torch: the command line asks too.
"""

import json
import logging
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textseg.data.store.durable import from_json, iso_time, locked, read_json, sync_folder, to_json, write_whole
from textseg.errors import StoreError

GATE = "gate.json"
PUBLISHED, ROLLED_BACK = ("published", "rolled back")
NAME = re.compile(r"v(?!0000)([0-9]{4}|[1-9][0-9]{4,8})")
Stat = tuple[int, int, int]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pointer:
    """Which version serves, 0: the base; why and since when. fault: what is wrong with the file that says it.

    withdrawn: versions that were rolled back from; none of them serves again unless it is named.
    """

    number: int = 0
    why: str = ""
    time: str = ""
    withdrawn: frozenset[int] = frozenset()
    fault: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the gate said of a candidate. sentence: of its report. accepted: it was published, or was about to be."""

    version: str
    accepted: bool
    time: str
    sentence: str
    report: dict[str, Any]


def name_of(number: int) -> str:
    """3 -> v0003."""
    return f"v{number:04}"


def number_of(name: object) -> int | None:
    """v0003 -> 3; None for what is no version's name, and for v0000, which is never stored."""
    found = NAME.fullmatch(name) if isinstance(name, str) else None
    return int(found[1]) if found else None


def _any_number(name: object) -> int:
    """As `number_of`, and 0 for v0000. Raises ValueError."""
    number = 0 if name == name_of(0) else number_of(name)
    if number is None:
        raise ValueError(f"{name} is no version")
    return number


def stat_of(path: Path) -> Stat | None:
    """What changes when a file is written anew; None where there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object as it stands; {} where it is missing or damaged."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


class Shelf:
    """The versions' folder, which need not be there. Writers are alone in it, readers see what is whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pointer_path = folder / "served.json"
        self.unfinished = folder / ".unfinished"
        self._verdicts = folder / "verdicts"

    def place(self, number: int) -> Path:
        """The folder of a version."""
        return self.folder / name_of(number)

    def numbers(self) -> list[int]:
        """The versions that are there, whole or not, the oldest first."""
        found = (number_of(path.name) for path in self.folder.iterdir()) if self.folder.is_dir() else ()
        return sorted(number for number in found if number is not None)

    def next_number(self) -> int:
        """One that no candidate ever had."""
        return max([*self.numbers(), *self._judged(), self.pointer().number], default=0) + 1

    def pointer(self) -> Pointer:
        """Which version serves: the base where nothing says it, the newest where what says it is damaged."""
        try:
            told = from_json(self.pointer_path.read_bytes(), self.pointer_path.name)
            withdrawn = frozenset(filter(None, map(number_of, told["withdrawn"])))
            return Pointer(_any_number(told["version"]), str(told["why"]), str(told["time"]), withdrawn)
        except FileNotFoundError:
            return Pointer()
        except StoreError as error:  # of a newer textseg
            fault = str(error)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            fault = f"{self.pointer_path} is damaged: the newest version counts. Choose one by textseg rollback --to."
        return Pointer(max(self.numbers(), default=0), fault=fault)

    def point(self, number: int, why: str, withdrawn: Iterable[int]) -> None:
        """Let a version serve. Raises OSError; then the one before does."""
        told = {"version": name_of(number), "why": why, "time": iso_time()}
        told["withdrawn"] = [name_of(each) for each in sorted(withdrawn)]
        write_whole(self.pointer_path, to_json(told), self.unfinished)

    def verdicts(self) -> list[Verdict]:
        """What the gate said of every candidate, the newest last; damaged ones are logged and left out."""
        read = (self._read_verdict(number) for number in self._judged())
        return [verdict for verdict in read if verdict is not None]

    def keep_verdict(self, number: int, accepted: bool, report: dict[str, Any]) -> None:
        """What the gate said of candidate `number`. Raises OSError."""
        told = {"version": name_of(number), "accepted": accepted, "time": iso_time(), "report": report}
        write_whole(self._verdict_path(number), to_json(told), self.unfinished)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Alone among threads and processes; what was left unfinished, now or by a killed process, is cleared away."""
        with locked(self.folder / ".lock"):
            shutil.rmtree(self.unfinished, ignore_errors=True)
            try:
                yield
            finally:
                shutil.rmtree(self.unfinished, ignore_errors=True)

    def take_in(self, whole: Path, number: int) -> None:
        """Make a folder a version, at once and for good. Raises OSError."""
        whole.rename(self.place(number))
        sync_folder(self.folder)

    def delete(self, number: int) -> None:
        """Take a version away; half of it never has its name. Raises OSError."""
        self.unfinished.mkdir(exist_ok=True)
        gone = self.unfinished / name_of(number)
        self.place(number).rename(gone)
        shutil.rmtree(gone)

    def _judged(self) -> list[int]:
        stems = [path.stem for path in self._verdicts.glob("*.json")]
        return sorted(int(stem) for stem in stems if re.fullmatch(r"[0-9]{6,9}", stem))

    def _verdict_path(self, number: int) -> Path:
        return self._verdicts / f"{number:06}.json"

    def _read_verdict(self, number: int) -> Verdict | None:
        try:
            told = read_json(self._verdict_path(number)) or {}
            report = dict(told["report"])
            sentence = str(report.get("verdict", ""))
            return Verdict(name_of(number), told["accepted"] is True, str(told["time"]), sentence, report)
        except (OSError, ValueError, TypeError, KeyError, StoreError) as error:
            logger.warning("The verdict on %s is not used: %s", name_of(number), error)
            return None
