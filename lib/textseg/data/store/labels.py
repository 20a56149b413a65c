"""A picture's labels: every version that was ever saved, each with who, when, model and the prompt of every segment."""

import hashlib
import logging
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from textseg.data.store.durable import read_json, to_json, write_whole
from textseg.data.store.history import PromptEntry

PERSON, MACHINE = "person", "model"
NUMBERED = re.compile(r"([0-9]{6,})\.[a-z.]+")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledSegment:
    """One thing that a label shows. values: of its voxels in the label file; empty: it was looked for and not there.

    names: what its segments are called in the viewer. source: where the prompt comes from: segment name, run, last
    prompt, csv or none. prompt, laterality, finding, canonical, model, version: as in PromptEntry.
    """

    values: tuple[int, ...]
    names: tuple[str, ...]
    source: str
    prompt: str = ""
    laterality: str = "patient"
    finding: dict[str, Any] | None = None
    canonical: str = ""
    model: str = ""
    version: str = ""

    @classmethod
    def of_run(
        cls, values: tuple[int, ...], names: tuple[str, ...], source: str, run: PromptEntry
    ) -> "LabelledSegment":
        """The segment that answers what was asked in a run."""
        said = (run.prompt, run.laterality, run.finding, run.canonical, run.model, run.version)
        return cls(values, names, source, *said)


@dataclass(frozen=True)
class LabelVersion:
    """One saved label. number: from 1. file: its name in the folder. by: person or model. info: what the client sent.

    segments: its prompts. dropped: names of the machine's segments that were left out. time: UTC, ISO 8601.
    """

    number: int
    file: str
    sha256: str
    by: str
    time: str
    segments: tuple[LabelledSegment, ...] = ()
    dropped: tuple[str, ...] = ()
    prompt: str = ""
    model: str = ""
    model_version: str = ""
    client: str = ""
    address: str = ""
    user: str = ""
    request_id: str = ""
    info: dict[str, Any] = field(default_factory=dict)

    def about(self) -> dict[str, Any]:
        """What is told of it: what was sent, then what the server knows; JSON-ready."""
        told = {key: value for key, value in asdict(self).items() if key not in ("info", "client", "file")}
        return {**self.info, **told, "client_id": self.client}

    @classmethod
    def of(cls, content: dict[str, Any]) -> "LabelVersion":
        """From a side file. Raises TypeError, KeyError or AttributeError where it is not as it must be."""
        known = {field.name for field in fields(cls)}
        content = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
        segments = tuple(LabelledSegment(**_tuples(segment)) for segment in content.get("segments", ()))
        return cls(**{**{key: value for key, value in content.items() if key in known}, "segments": segments})


class LabelFolder:
    """The versions of one picture's label under one tag; the caller holds the picture's lock when it writes."""

    def __init__(self, folder: Path, unfinished: Path) -> None:
        self.folder, self._unfinished = folder, unfinished

    def versions(self) -> list[LabelVersion]:
        """All whole versions, the oldest first. Raises StoreError for a newer schema."""
        return list(self._read(sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []))

    def current(self) -> LabelVersion | None:
        """The last whole version."""
        sides = sorted(self.folder.glob("*.json"), reverse=True) if self.folder.is_dir() else []
        return next(self._read(sides), None)

    def path(self, version: LabelVersion) -> Path:
        """A version's label file."""
        return self.folder / version.file

    def add(self, data: bytes, suffix: str, modified: int | None = None, **about: Any) -> LabelVersion:
        """Keep `data`, a whole label file, as the next version. Raises OSError; then all is as it was.

        modified: the time that its file shall carry, in nanoseconds. The side file is written last: a version without
        one was never acknowledged.
        """
        names = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        number = max((int(found[1]) for name in names if (found := NUMBERED.fullmatch(name))), default=0) + 1
        version = LabelVersion(number, f"{number:06d}{suffix}", hashlib.sha256(data).hexdigest(), **about)
        write_whole(self.path(version), data, self._unfinished, modified)
        try:
            write_whole(self.folder / f"{number:06d}.json", to_json(asdict(version)), self._unfinished)
        except BaseException:
            self.path(version).unlink(missing_ok=True)
            raise
        return version

    def take_back(self, version: LabelVersion) -> None:
        """Remove a version that was just added and has not been acknowledged."""
        (self.folder / f"{version.number:06d}.json").unlink(missing_ok=True)
        self.path(version).unlink(missing_ok=True)

    def _read(self, sides: list[Path]) -> Iterator[LabelVersion]:
        for side in sides:
            content = read_json(side)
            try:
                version = LabelVersion.of(content or {})
            except (TypeError, KeyError, AttributeError):
                logger.warning("%s is damaged: this version of the label is left out", side)
                continue
            if self.path(version).is_file():
                yield version


def _tuples(segment: dict[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(LabelledSegment)}
    return {
        **{key: value for key, value in segment.items() if key in known},
        "values": tuple(segment["values"]),
        "names": tuple(segment["names"]),
    }
