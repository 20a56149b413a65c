"""A site in simulation: which pictures a base learns from, which are corrected in which round, which only measure.

A corrected picture is one whose reference mask is taken for what a person drew.
"""

import csv
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from textseg.data.prompts_table import TABLE
from textseg.data.records import Record, read_records
from textseg.data.store.labels import LabelledSegment
from textseg.errors import DataError, OptionError
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.kinds import is_picture_name, stem_of
from textseg.imaging.lung_rows import lung_rows
from textseg.imaging.write import write_mask
from textseg.learning.corrections import Labelled
from textseg.text.from_mask import finding_of
from textseg.text.sentence import canonical

CHOOSING = 4  # one base picture in so many chooses the epoch and trains nothing


@dataclass(frozen=True)
class Source:
    """A data set as a simulation takes it. folder: images/, masks/ and tables, see `read_records`.

    What is learnt from is drawn from the rows marked train in `split_column`, or from all where that is empty.
    measured: so many of them are kept apart to measure by; None: the rows marked valid are. masks: another folder of
    masks, of pictures that need not be all; then the words are made from these masks, as they are for pictures without
    a prompt.
    """

    folder: Path
    laterality: str = "patient"
    split_column: str = "split"
    measured: int | None = None
    masks: str = ""


@dataclass(frozen=True)
class Lessons:
    """base: may be empty. rounds: what is corrected in each. No patient is in two of the parts, but for the rounds."""

    base: list[Record]
    rounds: list[list[Record]]
    measured: list[Record]


def draw_lessons(source: Source, base: int, rounds: int, corrections: int, seed: int) -> Lessons:
    """The parts, by the seed. Raises DataError for a data set that is too small, OptionError where nothing measures."""
    if source.measured is None and not source.split_column:
        raise OptionError("Without a split column no rows are marked valid: say how many pictures measure, --measured.")
    measured = _records(source, "valid") if source.measured is None else []
    pool = _Pool(_records(source, "train" if source.split_column else None), seed)
    pool.leave_out(measured)
    measured += pool.take(source.measured or 0)
    first = pool.take(base)
    corrected = pool.take(rounds * corrections)
    cut = [corrected[number * corrections : (number + 1) * corrections] for number in range(rounds)]
    return Lessons(_worded(first), [_worded(part) for part in cut], _worded(measured))


class _Pool:
    """Records in an order of chance, given out so that the patients of one part are in no other."""

    def __init__(self, records: Sequence[Record], seed: int) -> None:
        order = np.random.default_rng(seed).permutation(len(records))
        self._records = [records[number] for number in order]

    def take(self, count: int) -> list[Record]:
        if count > len(self._records):
            raise DataError(f"{count} more pictures are asked for, {len(self._records)} are left. Ask for fewer.")
        taken, self._records = self._records[:count], self._records[count:]
        self.leave_out(taken)
        return taken

    def leave_out(self, records: Sequence[Record]) -> None:
        known = {record.patient or record.name for record in records}
        self._records = [record for record in self._records if (record.patient or record.name) not in known]


def _records(source: Source, split: str | None) -> list[Record]:
    records = read_records(source.folder, split, source.split_column, source.laterality)
    if not source.masks:
        return records
    folder = source.folder / source.masks
    if not folder.is_dir():
        raise DataError(f"{source.folder.name} has no folder {source.masks}/. Name one that holds masks.")
    masks = {stem_of(path): path for path in folder.iterdir() if is_picture_name(path)}
    return [
        replace(record, mask=masks[record.name], prompt="", finding=None, bilateral=None)
        for record in records
        if record.name in masks
    ]


def _worded(records: Sequence[Record]) -> list[Record]:
    """Each with a finding: that of its prompt, else what its mask shows."""
    return [record if record.finding else replace(record, finding=_shown(record)) for record in records]


def _shown(record: Record) -> object:
    picture, masks = record.load()
    return finding_of(masks.any(axis=0), picture.sides_known, lung=lung_rows(picture.part(0, 1)[0]))


def write_base(records: Sequence[Record], folder: Path) -> Path:
    """A data set for `engine.fit`, with splits train and valid, patient sides; returns its folder."""
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("image", "prompt", "patient", "split"))
        for number, record in enumerate(records):
            split = "train" if number % CHOOSING else "valid"
            table.writerow((record.name, canonical(record.finding), record.patient, split))
            for name, path in (("images", record.image), ("masks", record.mask)):
                shutil.copyfile(path, folder / name / f"{record.name}{path.suffix}")
    return folder


def corrected(records: Sequence[Record], folder: Path) -> list[Labelled]:
    """The records as a person's labels, which are written into the folder; sentences in patient sides."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_labelled(record, folder / f"{record.name}.nii.gz") for record in records]


def _labelled(record: Record, label: Path) -> Labelled:
    picture, masks = record.load()
    write_mask(picture, masks, label)
    finding = record.finding
    segment = LabelledSegment((1,), ("infection",), "run", canonical(finding), "patient", finding.to_json())
    return Labelled(
        record.name, record.image, label, (segment,), pixels_sha256(picture), record.patient, record.modality
    )
