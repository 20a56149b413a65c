"""CSV tables as people make them: commas, semicolons or tabs; UTF-8 or UTF-16, with or without a byte order mark."""

import codecs
import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from textseg.errors import DataError

DELIMITERS = (",", ";", "\t")
TOLD_DELIMITER = re.compile(r"sep=([,;\t])(?=\r?\n|\r)", re.IGNORECASE)  # the first line of some of Excel's tables


@dataclass(frozen=True)
class TableLine:
    """One row. number: of the line in the file where it ends. cells: column -> cell without surrounding spaces.

    beyond: what stands to the right of the last named column, where nothing may.
    """

    number: int
    cells: Mapping[str, str]
    beyond: str


@dataclass(frozen=True)
class Table:
    """columns: their names, those that were asked for under their own. lines: without empty ones."""

    columns: tuple[str, ...]
    lines: tuple[TableLine, ...]


def read_table(path: Path, names: Mapping[str, str], key: str) -> Table:
    """Read a table whose first line names the columns.

    names: a column's name in lower case -> what it is called here; of two such columns the one counts that stands
    first in `names`, and both are never mixed. key: the column (as it is called here) that tells the delimiter: the
    first of comma, semicolon and tab with which the first line has it. Raises DataError for what is no CSV table in
    UTF-8 or UTF-16, or one that names a column twice.
    """
    try:
        text = _text(path.read_bytes())
        rows = [(number, row) for number, row in _rows(text, _delimiter(text, names, key)) if any(row)]
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} is not a CSV table in UTF-8 ({error}). Save it as CSV UTF-8.") from error
    except csv.Error as error:
        raise DataError(
            f"{path.name} cannot be read at {error}. A cell with quotes in it begins and ends with one, and has each "
            'of its own twice: "a ""ground glass"" opacity".'
        ) from error
    columns = _named(rows[0][1], names) if rows else ()
    twice = [name for name in set(names.values()) if columns.count(name) > 1]
    if twice:
        raise DataError(f"{path.name} has two columns `{min(twice)}`. Keep one of them.")
    return Table(columns, tuple(_line(number, columns, row) for number, row in rows[1:]))


def _text(data: bytes) -> str:
    """What a table says, its delimiter's own line left blank so that the others keep their numbers."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")


def _delimiter(text: str, names: Mapping[str, str], key: str) -> str:
    told = TOLD_DELIMITER.match(text)
    if told:
        return told[1]
    return next((each for each in DELIMITERS if key in _named(_first(text, each), names)), DELIMITERS[0])


def _first(text: str, delimiter: str) -> Sequence[str]:
    """The first line that says something, as it reads with this delimiter."""
    try:
        return next((row for _, row in _rows(text, delimiter) if any(row)), ())
    except csv.Error:
        return ()


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of every row. Raises csv.Error with the line."""
    told = TOLD_DELIMITER.match(text)
    rows = csv.reader(io.StringIO(text[told.end() :] if told else text, newline=""), delimiter=delimiter, strict=True)
    try:
        for row in rows:
            yield rows.line_num, [cell.strip() for cell in row]
    except csv.Error as error:
        raise csv.Error(f"line {rows.line_num} ({error})") from error


def _named(header: Sequence[str], names: Mapping[str, str]) -> tuple[str, ...]:
    """What the columns are called here; one whose better name is there as well keeps its own."""
    written = [name.lower() for name in header]
    order = list(names)
    best = {names[name]: name for name in reversed(order) if name in written}
    return tuple(
        names[low] if low in names and best[names[low]] == low else name
        for name, low in zip(header, written, strict=True)
    )


def _line(number: int, columns: Sequence[str], row: Sequence[str]) -> TableLine:
    """A row without an end is a row of empty cells; one beyond the last name is kept apart."""
    named = max((place for place, name in enumerate(columns, start=1) if name), default=0)
    cells = {name: "" for name in columns if name}
    cells |= {name: cell for name, cell in zip(columns, row, strict=False) if name}
    return TableLine(number, cells, " ".join(filter(None, row[named:])))
