"""prompts.csv: which prompt belongs to which picture. Lies beside the pictures; written by hand or by a script.

Columns: image (file name or id) and prompt, which may be called description; optional laterality (patient or picture;
beats every other setting), patient, modality (xray or ct), split. Capitals do not matter.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from textseg.data.tables import Table, TableLine, read_table
from textseg.errors import DataError
from textseg.imaging.kinds import SUFFIXES
from textseg.imaging.picture import MODALITIES
from textseg.text.prompt import LATERALITIES

TABLE = "prompts.csv"
KNOWN = ("prompt", "laterality", "patient", "modality")
NAMES = {name: name for name in ("image", *KNOWN)} | {"description": "prompt"}
logger = logging.getLogger(__name__)


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
        return cls(**{key: columns.get(key, "").strip() for key in KNOWN}, columns=columns)


@dataclass(frozen=True)
class PromptLine:
    """One line of a table. number: in the file. image: the picture as it is named there.

    fault: a sentence that says why the line cannot be used and what to do; "" for one that can.
    """

    number: int
    image: str
    row: PromptRow
    fault: str = ""

    @property
    def id(self) -> str:
        """The picture's id."""
        return picture_id(self.image)


def read_lines(path: Path, need_prompt: bool = True) -> list[PromptLine]:
    """All lines of a table, those that cannot be used with their faults; of a picture that is named twice, no line can.

    Raises DataError where the whole is no such table: no CSV, no column `image`, no `prompt` where it is needed.
    """
    table = read_table(path, NAMES, "image")
    for column in ("image", "prompt") if need_prompt else ("image",):
        if column not in table.columns:
            raise DataError(
                f"{path.name} has no column `{column}`. Its first line must name the columns: image,prompt."
            )
    named = _lines_of_pictures(table)
    return [_read(line, named[picture_id(line.cells["image"])]) for line in table.lines]


def read_prompts(path: Path) -> dict[str, PromptRow]:
    """Picture id -> row. Raises DataError naming the file and line when any line cannot be used."""
    lines = read_lines(path, need_prompt=path.name == TABLE)
    fault = next((line.fault for line in lines if line.fault), "")
    if fault:
        raise DataError(f"{path.name}, {fault}")
    return {line.id: line.row for line in lines}


class PromptsTable:
    """The prompts.csv of one studies folder, read anew when it changed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TABLE
        self._read: tuple[int, dict[str, PromptLine]] = (-1, {})

    def changed(self) -> int:
        """When it was changed, in nanoseconds; -1 where there is none."""
        try:
            return self._path.stat().st_mtime_ns
        except OSError:
            return -1

    def row(self, image_id: str) -> PromptRow | None:
        """A picture's row; None without one. Raises DataError when the table is damaged, or this row of it."""
        line = self._lines().get(image_id)
        if line and line.fault:
            raise DataError(f"{TABLE}, {line.fault}")
        return line.row if line else None

    def prompted(self) -> set[str]:
        """The ids of all pictures whose row has a prompt. Raises DataError when the table is damaged."""
        return {image_id for image_id, line in self._lines().items() if line.row.prompt and not line.fault}

    def _lines(self) -> dict[str, PromptLine]:
        if not self._path.is_file():
            return {}
        changed = self._path.stat().st_mtime_ns
        if changed != self._read[0]:
            lines = read_lines(self._path)
            self._read = (changed, {line.id: line for line in lines})
            faulty = [str(line.number) for line in lines if line.fault]  # a fault may quote a prompt: numbers alone
            if faulty:
                logger.warning("%s: these lines cannot be used: %s", TABLE, ", ".join(faulty))
        return self._read[1]


def picture_id(name: str) -> str:
    """A file name or id -> the id: without a picture suffix."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


def _lines_of_pictures(table: Table) -> dict[str, list[int]]:
    """Picture id -> the numbers of the lines that name it."""
    named: dict[str, list[int]] = {}
    for line in table.lines:
        named.setdefault(picture_id(line.cells["image"]), []).append(line.number)
    return named


def _read(line: TableLine, named: list[int]) -> PromptLine:
    row = PromptRow.of(line.cells)
    return PromptLine(line.number, line.cells["image"], row, _fault(line, row, named))


def _fault(line: TableLine, row: PromptRow, named: list[int]) -> str:
    image = picture_id(line.cells["image"])
    if line.beyond:
        return (
            f"line {line.number} has more cells than its first line names columns: put quotes around a prompt with "
            "commas or semicolons."
        )
    if not image:
        return f"line {line.number} names no picture. Write its file name into the column `image`."
    if len(named) > 1:
        lines = " and ".join(map(str, named[:3])) + (" and others" if len(named) > 3 else "")
        return f"lines {lines}: {image} is named twice. Keep one row for a picture."
    for column, allowed in (("laterality", LATERALITIES), ("modality", MODALITIES)):
        value = getattr(row, column)
        if value and value not in allowed:
            return f"line {line.number}: {column} is {' or '.join(allowed)}, not {value!r}. Correct it."
    return ""
