"""Does it pay which pictures are labelled? Ways to choose, side by side from one base, each with a person simulated.

OUTPUT/seed1/base/, round0.json        the base that all ways of a seed begin with, see `learning.curve`
OUTPUT/seed1/active/round1.chosen      the pictures that were chosen by what served then
OUTPUT/seed1/active/round1.json, ...   what serves after each round scores on the pictures kept apart
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from textseg.choosing.disagreement import disagreement, look_of
from textseg.choosing.order import ordered
from textseg.choosing.scores import Key, Scored, Scores
from textseg.data.records import Record
from textseg.data.store.durable import write_whole
from textseg.engine.predictor import Predictor
from textseg.engine.texts import Said
from textseg.errors import OptionError
from textseg.learning.curve import Curve, SeedRun, begin, figures_of, teach_in_process
from textseg.learning.lessons import Lessons, corrected, draw_lessons

UNIFORM, ACTIVE, EQUAL, DIVERSE = "uniform", "active", "equal", "diverse"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Contest:
    """curve: rounds of so many corrections each. pool: pictures that are chosen from, of which none is labelled."""

    curve: Curve
    pool: int


Score = Callable[[Predictor, Record], tuple[float | None, np.ndarray]]


def by_disagreement(predictor: Predictor, record: Record) -> tuple[float, np.ndarray]:
    """As the server scores."""
    found = _asked(predictor, record)
    return found.score, found.look


def by_equal_parts(predictor: Predictor, record: Record) -> tuple[float, np.ndarray]:
    """The plain mean of all questions' parts."""
    found = _asked(predictor, record)
    return float(np.mean(list(found.parts.values()))) if found.parts else 0.0, found.look


def by_look(predictor: Predictor, record: Record) -> tuple[None, np.ndarray]:
    """No score: diversity alone."""
    return None, look_of(predictor, record.load()[0])


SCORES: dict[str, Score] = {ACTIVE: by_disagreement, EQUAL: by_equal_parts, DIVERSE: by_look}
WAYS = (UNIFORM, *SCORES)


def run_contest(contest: Contest, output: Path, seeds: Sequence[int], ways: Sequence[str]) -> list[dict[str, Any]]:
    """All rounds of all seeds and ways that are not done yet; returns the results of all, each with its `way`.

    Raises OptionError for a way that there is not and where the folder holds another curve, and as `run_curve`.
    """
    unknown = [way for way in ways if way not in WAYS]
    if unknown:
        raise OptionError(f"Pictures are chosen by {', '.join(WAYS)}, not {unknown[0]!r}.")
    if contest.pool < contest.curve.rounds * contest.curve.corrections:
        raise OptionError("The pool is smaller than what is labelled in all rounds. Give a greater --pool.")
    begin(contest.curve, output, pool=contest.pool)
    runs = [_Run(contest, output / f"seed{seed}", seed, way) for seed in seeds for way in ways]
    return [{**result, "way": run.way} for run in runs for result in run.results()]


def choose(
    way: str, predictor: Predictor, pool: Sequence[Record], done: Sequence[Record], count: int, seed: int
) -> list[Record]:
    """The next pictures of a pool. done: those that were labelled; the others are unlike them."""
    if way == UNIFORM:
        picked = np.random.default_rng(seed).permutation(len(pool))[:count]
        return [pool[number] for number in picked]
    scores, by_name = Scores(None), {record.name: record for record in pool}
    for record in pool:
        score, look = SCORES[way](predictor, record)
        scores.put(record.name, Scored(Key(record.name, "", "said"), look, score))
    for record in done:
        scores.put(record.name, Scored(Key(record.name, "", "said"), look_of(predictor, record.load()[0])))
    order = ordered(list(by_name), scores, "", [record.name for record in done])
    return [by_name[ranked.picture] for ranked in order[:count]]


@dataclass(frozen=True)
class _Run:
    """One way of one seed."""

    contest: Contest
    folder: Path
    seed: int
    way: str

    def results(self) -> list[dict[str, Any]]:
        curve = self.contest.curve
        run = SeedRun(curve, self.folder / self.way, self.seed, teach_in_process)
        numbers = range(curve.rounds + 1)
        if not all(map(run.read, numbers)):
            self._go_on(run)
        return [run.read(number) for number in numbers]

    def _go_on(self, run: SeedRun) -> None:
        curve = self.contest.curve
        lessons = draw_lessons(curve.source, curve.base, 1, self.contest.pool, self.seed)
        base = self._base(run, lessons)
        labels, done = [], []
        for number in range(1, curve.rounds + 1):
            records = self._chosen(number, run.site(number - 1, base).versions.served().weights, lessons, done)
            done += records
            labels.append(corrected(records, run.folder / "labels"))
            if not run.read(number):
                before = [label for part in labels[:-1] for label in part]
                run.round(number, run.fresh_site(number, base), before, labels[-1], lessons)

    def _base(self, run: SeedRun, lessons: Lessons) -> Path | None:
        """Trained and measured once for all ways of a seed."""
        first = SeedRun(self.contest.curve, self.folder, self.seed, teach_in_process)
        base = first.base(lessons)
        if not first.read(0):
            first.keep(0, {"served": figures_of(self.contest.curve, base, lessons)})
        if not run.read(0):
            run.keep(0, first.read(0))
        return base

    def _chosen(self, number: int, weights: Path | None, lessons: Lessons, done: Sequence[Record]) -> list[Record]:
        """What is labelled in a round; once it is chosen it stays so."""
        path, (pool,) = self.folder / self.way / f"round{number}.chosen", lessons.rounds
        if not path.is_file():
            curve, taken = self.contest.curve, {record.name for record in done}
            left = [record for record in pool if record.name not in taken]
            predictor = Predictor.load(curve.spec, weights, pretrained=curve.pretrained)
            chosen = choose(self.way, predictor, left, done, curve.corrections, 1000 * self.seed + number)
            write_whole(path, json.dumps([record.name for record in chosen]).encode(), self.folder)
            logger.info("seed %d, %s: round %d is chosen", self.seed, self.way, number)
        names = json.loads(path.read_text(encoding="utf-8"))
        by_name = {record.name: record for record in pool}
        return [by_name[name] for name in names]


def _asked(predictor: Predictor, record: Record) -> Any:
    return disagreement(predictor, record.load()[0], Said(record.finding, record.bilateral, record.words))
