"""A model on many pictures, each with its own prompt from a table."""

import argparse
import csv
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from textseg.commands.shared import predictor_of, print_json
from textseg.errors import DataError, PictureNotFound, SomeFailed, StoreError, TextSegError

TABLE = "table.csv"
COLUMNS = (
    "line",
    "picture",
    "prompt",
    "read_as",
    "model",
    "version",
    "pixels",
    "cm2",
    "ml",
    "warnings",
    "mask",
    "overlay",
    "fault",
)


@dataclass
class Rows:
    """The rows of the table so far, and how many masks were made now, were there, could not be made."""

    rows: list[dict[str, Any]]
    made: int = 0
    kept: int = 0
    failed: int = 0

    def __str__(self) -> str:
        return f"{len(self.rows)} rows: {self.made} made, {self.kept} as they were, {self.failed} not done"


def batch(options: argparse.Namespace) -> None:
    """Make what is missing of the masks, overlays and table; raises SomeFailed when a row could not be done."""
    from textseg.data.prompts_table import read_lines
    from textseg.data.store.durable import locked

    if not options.prompts.is_file():
        raise DataError(f"There is no table {options.prompts}. Name a CSV file with the columns image,prompt.")
    lines = read_lines(options.prompts)
    if not lines:
        raise DataError(f"{options.prompts} has no rows: there is nothing to do.")
    folder = _pictures_of(options)
    options.output.mkdir(parents=True, exist_ok=True)
    rows = Rows([])
    with locked(options.output / ".lock"), _broken_off(options.output, rows):
        _make_all(options, lines, folder, rows)
    _tell(options, rows)


def _pictures_of(options: argparse.Namespace) -> Path:
    """The folder with the pictures: the named one, else images/ beside the table, else the table's own."""
    beside = options.prompts.resolve().parent
    folder = options.images or (beside / "images" if (beside / "images").is_dir() else beside)
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Name the folder with the pictures by --images.")
    return folder


def _make_all(options: argparse.Namespace, lines: list[Any], folder: Path, rows: Rows) -> None:
    from tqdm import tqdm

    from textseg.engine.batch import Batch
    from textseg.server.pictures import PictureFolder

    pictures = PictureFolder(folder)
    pictures.refresh()
    predictor = predictor_of(options)
    batch = Batch(predictor, options.output, options.laterality, options.modality)
    for line in tqdm(lines, unit="picture", disable=None):  # None: no bar in a file
        row = {"line": line.number, "picture": line.image, "prompt": line.row.prompt}
        rows.rows.append(row)
        try:
            row |= _made(batch, line, pictures, rows)
        except StoreError:  # a full disk: no other row would fare better
            raise
        except (TextSegError, RuntimeError, MemoryError) as error:
            rows.failed += 1
            row["fault"] = str(error) if line.fault else f"line {line.number}: {error}"
            tqdm.write(f"textseg: {row['fault']}", file=sys.stderr)


def _made(batch: Any, line: Any, pictures: Any, rows: Rows) -> dict[str, Any]:
    """The cells of a row that was done. Raises TextSegError."""
    if line.fault:
        raise DataError(line.fault)
    path = _found(line, pictures)
    made, now = batch.make(line, path)
    rows.made, rows.kept = rows.made + now, rows.kept + (not now)
    cells = {key: getattr(made, key) for key in ("read_as", "model", "version", "pixels")}
    cells |= {key: None if getattr(made, key) is None else round(getattr(made, key), 2) for key in ("cm2", "ml")}
    other = [f"The table names {line.image}; {path.name} was used."] if line.image not in (line.id, path.name) else []
    files = {"mask": batch.mask(line.id), "overlay": batch.overlay(line.id)}
    files = {name: file.relative_to(batch.output).as_posix() for name, file in files.items()}
    return {**cells, "warnings": " ".join([*other, *made.warnings]), **files}


def _found(line: Any, pictures: Any) -> Path:
    """The picture that a line names, and no other one. Raises PictureError."""
    from textseg.data.picture_ids import check_picture_id

    check_picture_id(line.id)
    try:
        return pictures.path(line.id)
    except PictureNotFound as error:
        near = get_close_matches(line.id, pictures.ids(), n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise PictureNotFound(f"There is no picture {line.image} in {pictures.folder}.{hint}") from error


@contextmanager
def _broken_off(output: Path, rows: Rows) -> Iterator[None]:
    """However it ends, the table tells what was done."""
    try:
        yield
    except KeyboardInterrupt:
        print("\ntextseg: broken off; the same command goes on from there", file=sys.stderr)
        raise SystemExit(130) from None
    finally:
        if rows.rows:
            _write(output, rows.rows)


def _write(output: Path, rows: list[dict[str, Any]]) -> None:
    from textseg.data.store.durable import told_of_failure, write_whole

    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS)
    table.writeheader()
    table.writerows(rows)
    with told_of_failure("the table"):
        write_whole(output / TABLE, text.getvalue().encode("utf-8", "surrogatepass"), output / ".unfinished")


def _tell(options: argparse.Namespace, rows: Rows) -> None:
    table = options.output / TABLE
    if options.json:
        told = {key: getattr(rows, key) for key in ("made", "kept", "failed")}
        print_json({"table": str(table), **told, "rows": [dict.fromkeys(COLUMNS) | row for row in rows.rows]})
    else:
        print(f"{table}: {rows}")
    if rows.failed:
        raise SomeFailed(f"{rows.failed} of {len(rows.rows)} rows have no mask; the column `fault` says why.")
