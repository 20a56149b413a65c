"""A picture's prompts in their order: what was asked, by whom, how it was read, and what the mask was called."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from textseg.data.store.durable import append_durably, from_json, to_json, told_of_failure

TYPED, PRESET, REMEMBERED, CSV, NONE = "typed", "preset", "remembered", "csv", "none"
MEANT = (TYPED, PRESET)  # what a person chose for this picture
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PromptEntry:
    """One run of a model on a picture.

    prompt: as typed, "" for none. source: typed, preset, remembered, csv or none. laterality: whose sides the prompt
    speaks of; viewer_laterality: what the viewer's option said, which is how a name typed later is read. finding: its
    Finding as JSON, in patient sides, None for no text or for a model that reads words as they stand. canonical: the
    sentence for it. segment: what the mask is
    called in the viewer. client, address, user: who asked. time: UTC, ISO 8601.
    """

    time: str
    prompt: str
    source: str
    laterality: str = "patient"
    viewer_laterality: str = "patient"
    finding: dict[str, Any] | None = None
    canonical: str = ""
    segment: str = ""
    model: str = ""
    version: str = ""
    client: str = ""
    address: str = ""
    user: str = ""
    request_id: str = ""

    @property
    def meant(self) -> bool:
        """True when a person chose this prompt for this picture."""
        return self.source in MEANT

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `of` is the inverse."""
        return asdict(self)

    @classmethod
    def of(cls, content: dict[str, Any]) -> "PromptEntry":
        """From a line of the history. Raises TypeError where keys that must be there are not."""
        known = {field.name for field in fields(cls)}
        return cls(**{key: value for key, value in content.items() if key in known})


@dataclass(frozen=True)
class History:
    """All entries of one picture, the oldest first."""

    entries: tuple[PromptEntry, ...] = ()

    @property
    def remembered(self) -> PromptEntry | None:
        """The last prompt that a person chose for this picture."""
        return next((entry for entry in reversed(self.entries) if entry.meant), None)

    @property
    def last(self) -> PromptEntry | None:
        """The last run, whatever its text."""
        return self.entries[-1] if self.entries else None

    def named(self, segment: str) -> PromptEntry | None:
        """The last run whose mask had this name."""
        return next((entry for entry in reversed(self.entries) if entry.segment == segment), None)


def read_history(path: Path) -> History:
    """The history in a file; empty where there is none. Raises StoreError for a newer schema.

    A last line that was cut off was never acknowledged and does not count; a damaged one is left out and logged.
    """
    with told_of_failure("the prompts of this picture"):
        try:
            lines = path.read_bytes().split(b"\n")
        except FileNotFoundError:
            lines = []
    return History(tuple(_entries(lines[:-1], path)))


def check_not_newer(path: Path) -> None:
    """Raises StoreError for a history whose last entry a newer version wrote; an older one never adds to it."""
    with told_of_failure("the prompts of this picture"):
        lines = path.read_bytes().rsplit(b"\n", 2) if path.exists() else []
    if len(lines) > 1:
        with suppress(ValueError, RecursionError):  # damaged: `read_history` tells
            from_json(lines[-2], path.name)


def append_entry(path: Path, entry: PromptEntry) -> None:
    """Add an entry for good. The caller holds the picture's lock. Raises StoreError; then the history is as it was."""
    with told_of_failure("the prompt"):
        append_durably(path, to_json(entry.to_json()))


def _entries(lines: list[bytes], path: Path) -> Iterator[PromptEntry]:
    for number, line in enumerate(lines, start=1):
        try:
            yield PromptEntry.of(from_json(line, path.name))
        except (ValueError, TypeError, RecursionError) as error:
            logger.warning("%s, line %d is damaged and left out: %s", path, number, type(error).__name__)
