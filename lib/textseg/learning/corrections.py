"""Labels of people -> corrections: one for every segment, with the words that it answers, or why it is left out."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from textseg.data.records import Record
from textseg.data.store.labels import LabelledSegment
from textseg.errors import DataError, TextSegError
from textseg.imaging.labels import read_mask
from textseg.imaging.lung_rows import lung_rows
from textseg.imaging.picture import CT, Picture
from textseg.imaging.read import read_picture
from textseg.text.from_mask import contradiction, finding_of
from textseg.text.prompt import Reading, read_prompt
from textseg.text.sentence import canonical
from textseg.text.sides import speaks_of_sides

FILLED, EMPTY = 16, 4  # slices of a volume that show something of a segment, and that show nothing
NOWHERE = -1  # a value that no label has: what was looked for and not found
NO_WORDS = "It has no prompt, and {} reads words as they stand: name the segment with what it shows, and submit again."
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labelled:
    """A picture with a person's label. patient: "" when unknown. pixels: SHA-256, see `imaging.identity`."""

    name: str
    image: Path
    label: Path
    segments: tuple[LabelledSegment, ...]
    pixels: str
    patient: str = ""
    modality: str = ""


@dataclass(frozen=True)
class Correction:
    """What one segment teaches. from_mask: nobody gave it words, they were made from what is drawn."""

    record: Record
    pixels: str
    patient: str = ""
    from_mask: bool = False


@dataclass
class Corrections:
    """All of them. left_out: for what cannot be trained on, a sentence that says which and why."""

    usable: list[Correction] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def told(self) -> str:
        """How many there are, in words."""
        words = f"{len(self.usable)} correction{'s' if len(self.usable) != 1 else ''}"
        from_mask = sum(correction.from_mask for correction in self.usable)
        words += f", {from_mask} of them with words made from the mask" if from_mask else ""
        return words + (f"; {len(self.left_out)} left out" if self.left_out else "")


def gather(labelled: Iterable[Labelled], model: str, spoken: str | None = None) -> Corrections:
    """Every segment of every label that a model can learn from.

    spoken: for a model that reads the words as they stand, whose sides its own speak of, see `read_prompt`. A label
    that cannot be read costs the others nothing.
    """
    found = Corrections()
    for one in labelled:
        with _named(one, found):
            picture = read_picture(one.image, hint=one.modality)
            for segment in one.segments:
                with _named(one, found):
                    found.usable.append(_correction(one, segment, picture, model, spoken))
    for sentence in found.left_out:
        logger.warning("not trained on: %s", sentence)
    return found


@contextmanager
def _named(one: Labelled, found: Corrections) -> Iterator[None]:
    """What cannot be used inside the `with` is named, and the rest goes on."""
    try:
        yield
    except (TextSegError, OSError) as error:
        found.left_out.append(f"{one.name}: {error}")


def _correction(
    one: Labelled, segment: LabelledSegment, picture: Picture, model: str, spoken: str | None
) -> Correction:
    masks = read_mask(one.label, picture, segment.values or (NOWHERE,))
    reading = _reading(segment, masks, picture, spoken)
    if reading is None:
        raise DataError(NO_WORDS.format(model))
    drawn = masks.any(axis=0)
    fault = contradiction(reading.finding, drawn, picture.sides_known) if reading.finding else None
    if fault:
        raise DataError(fault)
    reading = _usable(reading, picture)
    record = Record(
        name=one.name,
        image=one.image,
        mask=one.label,
        prompt=segment.prompt or canonical(reading.finding),
        finding=reading.finding,
        bilateral=reading.bilateral,
        patient=one.patient,
        modality=one.modality,
        words=reading.words,
        values=segment.values or (NOWHERE,),
        slices=chosen_slices(masks),
        complete=_tells_all(reading) and np.array_equal(masks, read_mask(one.label, picture)),
    )
    return Correction(record, one.pixels, one.patient, from_mask=not segment.prompt)


def _usable(reading: Reading, picture: Picture) -> Reading:
    """Without sides where they mean nothing, as when the model is asked. Raises DataError for words that name them."""
    if picture.sides_known:
        return reading
    if speaks_of_sides(reading.words):
        raise DataError("It names a side, and left and right mean nothing in this view: nothing is learnt from it.")
    located = reading.finding and not (reading.finding.anywhere or reading.finding.nothing)
    return replace(reading, finding=None, bilateral=None) if located else reading


def _tells_all(reading: Reading) -> bool:
    """Whether the words say that there is nothing beside what they name: the other lung is healthy."""
    finding = reading.finding
    return finding is not None and (reading.bilateral is False or finding.absent_left or finding.absent_right)


def _reading(segment: LabelledSegment, masks: np.ndarray, picture: Picture, spoken: str | None) -> Reading | None:
    """What is said of a segment: its prompt, else what its mask shows; None where a mask has no words to give.

    Raises PromptError, OptionError for a prompt that cannot be used.
    """
    if segment.prompt:
        return read_prompt(segment.prompt, segment.laterality, spoken)
    if spoken is not None:
        return None
    drawn = masks.any(axis=0)
    if picture.modality == CT:
        return Reading(finding_of(drawn, picture.sides_known, zones=False))
    return Reading(finding_of(drawn, picture.sides_known, lung=lung_rows(picture.part(0, 1)[0])))


def chosen_slices(masks: np.ndarray) -> tuple[int, ...]:
    """Slices of a volume, N x H x W, to learn from: evenly among those that show something, few of the others.

    Empty for a picture of one slice, which is meant whole.
    """
    if len(masks) == 1:
        return ()
    filled = np.flatnonzero(masks.any(axis=(1, 2)))
    empty = np.flatnonzero(~masks.any(axis=(1, 2)))
    most = EMPTY if len(filled) else FILLED
    return tuple(sorted({*_evenly(filled, FILLED), *_evenly(empty, most)}))


def _evenly(numbers: Sequence[int], most: int) -> Iterator[int]:
    places = np.linspace(0, len(numbers) - 1, min(most, len(numbers))).round().astype(int)
    return (int(numbers[place]) for place in places)
