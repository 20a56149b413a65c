"""The facts of `status`, read from the studies and the models' folders. Nothing is computed and nothing is changed."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from textseg.choosing.order import ordered
from textseg.choosing.ranking import Ranked, Ranking
from textseg.choosing.scores import Scores
from textseg.data.prompts_table import PromptsTable
from textseg.data.store.durable import iso_time, read_json
from textseg.data.store.history import CSV, REMEMBERED, PromptEntry, read_history
from textseg.data.store.layout import Layout
from textseg.data.store.masks import mask_name
from textseg.data.store.shown import FINAL, ORIGINAL
from textseg.errors import DataError, StoreError, WeightsMissing
from textseg.imaging.kinds import stem_of, suffix_of
from textseg.imaging.labels import LABEL_SUFFIXES
from textseg.learning.holdout import HoldOut
from textseg.learning.progress import ProgressFile
from textseg.learning.shelf import Stat, stat_of
from textseg.learning.versions import Served, Versions
from textseg.server.status import BestPicture, ModelFacts, PictureFacts, TrainingFacts, VerdictFacts

RUN = "run"  # the mask of the last run, where no `original` was saved


def model_facts(versions: Versions, serving: Served | None = None) -> ModelFacts:
    """What serves of a model, what the gate said last, how far its training is.

    serving: what a server has loaded; None where none is asked, or it has not tried yet: then the folder alone tells.
    """
    due, told, why = None, (), versions.why()
    try:
        due = versions.served()
        told = due.told
    except WeightsMissing as error:
        told = (str(error),)
    if serving and due and due.version != serving.version:  # it could not be loaded, and why is said of it
        why = ("", "")
    now = serving or due
    told = (serving.told if serving else ()) or told
    verdicts = versions.verdicts()
    verdict = verdicts[-1] if verdicts else None
    last = VerdictFacts(verdict.version, verdict.accepted, verdict.time, verdict.sentence) if verdict else None
    return ModelFacts(versions.spec.name, now.version if now else None, *why, told, last, _training(versions.folder))


def _training(folder: Path) -> TrainingFacts | None:
    told = ProgressFile(folder).read()
    if not told.get("state"):
        return None
    text = {key: str(told.get(key) or "") for key in ("state", "total_time", "verdict", "told", "started")}
    number = {key: told.get(key) if isinstance(told.get(key), int) else 0 for key in ("epoch", "total_epochs")}
    left_out = told.get("left_out")
    return TrainingFacts(
        text["state"],
        number["epoch"],
        number["total_epochs"],
        text["total_time"],
        text["verdict"],
        text["told"],
        tuple(map(str, left_out)) if isinstance(left_out, list) else (),
        text["started"],
    )


def last_training(models: Iterable[ModelFacts]) -> str:
    """When the last training of any model began, ISO 8601; "" for never."""
    return max((model.training.started for model in models if model.training), default="")


class StudiesFacts:
    """What is known of the pictures of one studies folder. Files are read anew only when they have changed."""

    def __init__(self, studies: Path, ids: Callable[[], Iterable[str]], table: PromptsTable) -> None:
        self.layout, self._ids, self._table = Layout(studies), ids, table
        self._prompts = _FileFacts(_remembered_and_last)
        self._known = _FileFacts(read_json)

    def pictures(self, trained: str, faults: list[str]) -> PictureFacts:
        """Counts. trained: when the last training began, ISO 8601, "" for never. faults: gets what cannot be told."""
        ids = set(self._ids())
        labels, originals = self._labels(FINAL), self._labels(ORIGINAL)
        labelled = ids & labels.keys()
        prompted = self._prompted(ids, faults)
        return PictureFacts(
            total=len(ids),
            labelled=len(labelled),
            unlabelled=len(ids - labelled),
            with_prompt=len(prompted),
            without_prompt=len(ids - prompted),
            to_prompt=len(ids - labelled - prompted),
            original=len((ids - labelled) & originals.keys()),
            labelled_since=sum(labels[image_id] > trained for image_id in labelled),
            held_out=self._held_out(labelled, faults),
        )

    def ranked_as_kept(self, weights: str) -> Ranking:
        """The ranking as the scores on the disk give it, where no server is asked. weights: SHA-256 of those served."""
        ids = sorted(self._ids())
        labelled = self._labels(FINAL)
        scores, left = Scores(self.layout.scores), [each for each in ids if each not in labelled]
        scores.load(ids)
        ranking = Ranking(lambda: left)
        ranking.put(ordered(left, scores, weights, [each for each in ids if each in labelled]))
        return ranking

    def best(self, ranked: Iterable[Ranked]) -> tuple[BestPicture, ...]:
        """Pictures as they are ranked, with their prompts."""
        return tuple(self._best(each) for each in ranked)

    def mask(self, image_id: str) -> tuple[str, Path | None]:
        """Which mask is shown of a picture, and its file: the `original` label, else of the last run, else none."""
        for suffix in LABEL_SUFFIXES:
            path = self.layout.shown(ORIGINAL) / f"{image_id}{suffix}"
            if path.is_file():
                return ORIGINAL, path
        _, last = self._asked(image_id)
        made = self.layout.made(image_id) / mask_name(last.segment) if last else None
        return (RUN, made) if made and made.is_file() else ("", None)

    def _best(self, ranked: Ranked) -> BestPicture:
        prompt, source, read_as = self._prompt(ranked.picture)
        mask, _ = self.mask(ranked.picture)
        return BestPicture(ranked.picture, ranked.score, ranked.reason, prompt, source, read_as, mask)

    def _prompt(self, image_id: str) -> tuple[str, str, str]:
        """The prompt of a run on this picture without a text, where it comes from, and as what it was read."""
        remembered, _ = self._asked(image_id)
        if remembered:
            return remembered.prompt, REMEMBERED, remembered.canonical
        try:
            row = self._table.row(image_id)
        except (DataError, OSError):  # `pictures` tells of a damaged table
            row = None
        return (row.prompt, CSV, "") if row and row.prompt else ("", "", "")

    def _prompted(self, ids: set[str], faults: list[str]) -> set[str]:
        """Pictures whose prompt is known."""
        try:
            in_table = self._table.prompted()
        except DataError as error:
            faults.append(str(error))
            in_table = set()
        except OSError as error:
            faults.append(f"prompts.csv cannot be opened ({error.strerror}). Give the right to read it.")
            in_table = set()
        asked = {each.name for each in self.layout.pictures.iterdir()} if self.layout.pictures.is_dir() else set()
        others = (ids & asked) - in_table
        return (ids & in_table) | {each for each in others if self._asked(each)[0]}

    def _asked(self, image_id: str) -> tuple[PromptEntry | None, PromptEntry | None]:
        """The last prompt that a person chose for a picture, and the last run on it."""
        return self._prompts.get(self.layout.prompts(image_id)) or (None, None)

    def _labels(self, tag: str) -> dict[str, str]:
        """Picture id -> when its label was saved, ISO 8601."""
        folder = self.layout.shown(tag)
        files = [path for path in folder.iterdir() if suffix_of(path) in LABEL_SUFFIXES] if folder.is_dir() else []
        return {stem_of(path): when for path in files if (when := _changed(path)) and not path.name.startswith(".")}

    def _held_out(self, labelled: set[str], faults: list[str]) -> int:
        known = (self._known.get(self.layout.known(each)) or {} for each in labelled)
        try:
            return HoldOut(self.layout.root).size(str(each.get("pixels_sha256")) for each in known)
        except StoreError as error:
            faults.append(str(error))
            return 0


class _FileFacts:
    """What files say, by a function that reads one; None where there is none, or it is of a newer version."""

    def __init__(self, read: Callable[[Path], Any]) -> None:
        self._read = read
        self._said: dict[Path, tuple[Stat, Any]] = {}

    def get(self, path: Path) -> Any:
        """What the file says now."""
        stat = stat_of(path)
        if stat is None:
            return None
        before = self._said.get(path)
        if before is None or before[0] != stat:
            try:
                said = self._read(path)
            except StoreError:
                said = None
            before = self._said[path] = (stat, said)
        return before[1]


def _remembered_and_last(path: Path) -> tuple[PromptEntry | None, PromptEntry | None]:
    history = read_history(path)
    return history.remembered, history.last


def _changed(path: Path) -> str:
    """When a file was changed, ISO 8601; "" where it is gone."""
    stat = stat_of(path)
    return iso_time(stat[0] / 1e9) if stat else ""
