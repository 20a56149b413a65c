"""Prompt and label joined: which prompt each segment of a submitted label answers.

Slicer sends no prompt with a label, only the names of its segments. Per segment that is not empty, the first that
holds: a server-made name -> the run that made it; the class label or a viewer's own default name -> the last prompt of
the one who submits, else the picture's last; a name that a person typed and that can be read -> that text; else the
picture's row in prompts.csv; else none.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from textseg.data.prompts_table import PromptRow
from textseg.data.store.history import History, PromptEntry
from textseg.data.store.labels import LabelledSegment
from textseg.errors import DataError, PromptError
from textseg.text.hints import shown
from textseg.text.prompt import read_prompt
from textseg.text.sentence import canonical

CLASS_LABEL = "infection"
UNNAMED = re.compile(r"(segment|label|untitled)?[ _-]*\d*", re.IGNORECASE)  # what viewers call one by themselves
NAME, RUN, LAST_PROMPT, TABLE_ROW, NONE = "segment name", "run", "last prompt", "csv", "none"


@dataclass(frozen=True)
class Known:
    """What is known of a picture. made: segment name -> the mask made under it, or None.

    fault: why its row in prompts.csv cannot be told, "" when it can. client, address: who submits.
    """

    history: History = field(default_factory=History)
    row: PromptRow | None = None
    made: Callable[[str], np.ndarray | None] = lambda name: None
    fault: str = ""
    client: str = ""
    address: str = ""

    @property
    def own(self) -> History:
        """The runs of the one who submits; another's in between, or a batch's, does not come before them."""
        own = (run for run in self.history.entries if (run.client, run.address) == (self.client, self.address))
        return History(tuple(own))

    @property
    def remembered(self) -> PromptEntry | None:
        """The last prompt that a person chose for this picture: the one who submits, else another."""
        return self.own.remembered or self.history.remembered


@dataclass(frozen=True)
class Joined:
    """label: z, y, x, without what was dropped. dropped: names of unchanged segments of earlier runs."""

    label: np.ndarray
    segments: tuple[LabelledSegment, ...]
    dropped: tuple[str, ...]


def names_of(info: object, values: Sequence[int]) -> dict[int, str]:
    """Label value -> segment name, from a viewer's `label_info`: [{"name", "idx"}, ...]; "" where it says nothing.

    By idx; by position (value 1 first) where an idx is missing, doubled or below 1, or where the label holds a value
    that no idx is (Slicer numbers over segments that it then leaves out). Raises DataError for a value that
    no segment has.
    """
    entries = [entry if isinstance(entry, Mapping) else {} for entry in info] if isinstance(info, list) else []
    if not entries:
        return dict.fromkeys(values, "")
    by_position = dict(enumerate((str(entry.get("name") or "") for entry in entries), start=1))
    numbers = [entry.get("idx") for entry in entries]
    whole = {number for number in numbers if isinstance(number, int) and not isinstance(number, bool) and number > 0}
    by_idx = dict(zip(numbers, by_position.values(), strict=True)) if len(whole) == len(entries) else by_position
    names = by_position if by_position.keys() >= set(values) and not by_idx.keys() >= set(values) else by_idx
    unknown = [value for value in values if value not in names]
    if unknown:
        raise DataError(
            f"The label holds the value {unknown[0]}, but label_info names only {', '.join(map(str, sorted(names)))}. "
            "Submit the segments that the label shows."
        )
    return {value: names[value] for value in values}


def join(label: np.ndarray, info: object, known: Known) -> Joined:
    """Prompts for every segment of a label (z, y, x whole numbers). Raises DataError as `names_of`."""
    values = [int(value) for value in np.unique(label) if value]
    names = names_of(info, values)
    sent = {str(entry.get("name")) for entry in info if isinstance(entry, Mapping)} if isinstance(info, list) else set()
    last = known.own.last
    dropped = [
        value
        for value in values
        if last and last.segment in sent and _unchanged_earlier_run(label, value, names[value], last, known)
    ]
    if dropped:
        label = _without(label, dropped, {value: names[value] for value in values if value not in dropped}, known)
    segments = [_segment(value, names[value], known) for value in values if value not in dropped]
    if not values:
        segments = [_last_prompt_or_row((), (), known)]  # looked for, and nothing there
    return Joined(label, _merged(segments), tuple(names[value] for value in dropped))


def _without(label: np.ndarray, dropped: list[int], kept: dict[int, str], known: Known) -> np.ndarray:
    """The label without segments, which had covered others: what a run had made there is its segment's again."""
    hole = np.isin(label, dropped)
    label = np.where(hole, 0, label).astype(label.dtype)
    for value, name in kept.items():
        made = known.made(name) if known.history.named(name) else None
        if made is not None and made.shape == label.shape:
            label[hole & made] = value
    return label


def _unchanged_earlier_run(label: np.ndarray, value: int, name: str, last: PromptEntry, known: Known) -> bool:
    """True for a mask of a run before the last one that lies there as the server made it, but for what covers it."""
    if name == last.segment or known.history.named(name) is None:
        return False
    made = known.made(name)
    if made is None or made.shape != label.shape:
        return False
    covered = (label > 0) & (label != value)
    return np.array_equal(label == value, made & ~covered)


def _segment(value: int, name: str, known: Known) -> LabelledSegment:
    entry = known.history.named(name)
    if entry is not None:
        return LabelledSegment.of_run((value,), (name,), RUN if entry.prompt else NONE, entry)
    plain = name.strip()
    if plain.lower() == CLASS_LABEL or UNNAMED.fullmatch(plain):
        return _last_prompt_or_row((value,), (name,), known)
    last = known.own.last or known.history.last
    laterality = last.viewer_laterality if last else "patient"
    if "(patient side" in plain:  # made by a server, and forgotten since
        laterality = "patient"
    typed = _read((value,), (name,), plain, laterality, NAME)
    return typed or _row((value,), (name,), known)


def _last_prompt_or_row(values: tuple[int, ...], names: tuple[str, ...], known: Known) -> LabelledSegment:
    remembered = known.remembered
    if remembered is not None:
        return LabelledSegment.of_run(values, names, LAST_PROMPT, remembered)
    return _row(values, names, known)


def _row(values: tuple[int, ...], names: tuple[str, ...], known: Known) -> LabelledSegment:
    row = known.row
    of_row = _read(values, names, row.prompt, row.laterality or "patient", TABLE_ROW) if row and row.prompt else None
    return of_row or LabelledSegment(values, names, NONE)


def _read(
    values: tuple[int, ...], names: tuple[str, ...], prompt: str, laterality: str, source: str
) -> LabelledSegment | None:
    """The segment with this prompt; None where it cannot be read."""
    try:
        finding = read_prompt(prompt, laterality).finding
    except PromptError:
        return None
    return LabelledSegment(values, names, source, prompt, laterality, finding.to_json(), canonical(finding))


def _merged(segments: list[LabelledSegment]) -> tuple[LabelledSegment, ...]:
    """Segments with one and the same prompt are one thing; those without a prompt stay apart."""
    merged: dict[object, LabelledSegment] = {}
    for number, segment in enumerate(segments):
        key = (segment.prompt, segment.laterality) if segment.prompt else number
        first = merged.get(key)
        merged[key] = (
            replace(first, values=first.values + segment.values, names=first.names + segment.names)
            if first
            else segment
        )
    return tuple(merged.values())


def told(joined: Joined) -> list[str]:
    """Sentences for the one who submitted."""
    sentences = [
        f"Left out, because it is an earlier run's mask that nobody changed: {shown(name)}." for name in joined.dropped
    ]
    without = [segment for segment in joined.segments if segment.source == NONE and segment.values]
    names = [shown(name) for segment in without for name in segment.names if name]
    if without:
        which = ", ".join(names) or "what is drawn"
        sentences.append(f"No prompt is known for {which}: name the segment with what it shows, and submit again.")
    return sentences
