"""prompts.csv: which prompt belongs to which picture. Lies beside the pictures; written by hand or by a script.

Columns: image (file name or id) and prompt; optional laterality (patient or picture; beats every other setting),
patient, modality (xray or ct), split.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textseg.errors import DataError
from textseg.imaging.kinds import SUFFIXES
from textseg.imaging.picture import MODALITIES
from textseg.text.prompt import LATERALITIES

TABLE = "prompts.csv"


@dataclass(frozen=True)
class PromptRow:
    """One row: the prompt as written ("" for none), whose sides it speaks of ("" for unsaid), and the other columns."""

    prompt: str
    laterality: str = ""
    patient: str = ""
    modality: str = ""
    columns: Mapping[str, str] | None = None

    @classmethod
    def of(cls, columns: Mapping[str, str]) -> "PromptRow":
        """A row from everything that its line says."""
        known = {key: columns.get(key, "").strip() for key in ("prompt", "laterality", "patient", "modality")}
        return cls(**known, columns=columns)


def read_prompts(path: Path) -> dict[str, PromptRow]:
    """Picture id -> row. Raises DataError naming the file and line when it is not a table of that kind."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            table = csv.DictReader(lines, strict=True)
            return _rows(table, path)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is not a CSV table in UTF-8 ({error}). Save it as CSV UTF-8.") from error


class PromptsTable:
    """The prompts.csv of one studies folder, read anew when it changed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TABLE
        self._read: tuple[int, dict[str, PromptRow]] = (-1, {})

    def changed(self) -> int:
        """When it was changed, in nanoseconds; -1 where there is none."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return -1

    def row(self, image_id: str) -> PromptRow | None:
        """A picture's row; None without one. Raises DataError when the table is damaged."""
        if not self._path.is_file():
            return None
        changed = self._path.stat().st_mtime_ns
        if changed != self._read[0]:
            self._read = (changed, read_prompts(self._path))
        return self._read[1].get(image_id)


def picture_id(name: str) -> str:
    """A file name or id -> the id: without a picture suffix."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _rows(table: csv.DictReader, path: Path) -> dict[str, PromptRow]:
    if "image" not in (table.fieldnames or ()):
        raise DataError(f"{path.name} has no column `image`. Its first line must name the columns: image,prompt.")
    if path.name == TABLE and "prompt" not in table.fieldnames:
        raise DataError(f"{path.name} has no column `prompt`. Its first line must name the columns: image,prompt.")
    rows: dict[str, PromptRow] = {}
    for row in table:
        image = picture_id((row.get("image") or "").strip())
        if image in rows:
            raise DataError(f"{path.name}, line {table.line_num}: {image} is named twice. Keep one row for a picture.")
        rows[image] = PromptRow.of({key: value or "" for key, value in row.items() if key})
        _check(rows[image], path, table.line_num)
    return rows


def _check(row: PromptRow, path: Path, line: int) -> None:
    for column, allowed in (("laterality", LATERALITIES), ("modality", MODALITIES)):
        value = getattr(row, column)
        if value and value not in allowed:
            raise DataError(f"{path.name}, line {line}: {column} is {' or '.join(allowed)}, not {value!r}. Correct it.")
