"""Does a model get better by being corrected? A base of little data, rounds of corrections, the gate, and what serves.

    OUTPUT/task.json            what is asked for, so that nothing is gone on with as something else
    OUTPUT/seed1/base/          the base as `textseg train` makes it
    OUTPUT/seed1/round0.json    what it scores on the pictures kept apart; round1.json, ... after each round
    OUTPUT/seed1/round1/        a site as a server leaves it, app/ and studies/; the next round goes on from a copy

A round without a result is begun anew from the one before, so that a kill costs one round at most.
"""

import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from textseg.data.store.durable import from_json, to_json, write_whole
from textseg.engine.fit import Assignment, fit
from textseg.engine.predictor import Predictor
from textseg.engine.recipe import Recipe, recipe_of
from textseg.errors import OptionError
from textseg.learning.corrections import Labelled, gather
from textseg.learning.holdout import HoldOut
from textseg.learning.lessons import Lessons, Source, corrected, draw_lessons, write_base
from textseg.learning.measured import Measured, measure
from textseg.learning.retrain import Retraining, retrain
from textseg.learning.versions import Versions
from textseg.registry import ModelSpec

TASK = "task.json"
BATCH, WARM_UP, HEALTHY = 8, 20, 0.3  # of a base: few pictures give few steps, and few of them teach it to obey
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Curve:
    """What is asked for. base: pictures that a base is trained on, for `base_epochs`; 0: it starts from `weights`.

    phantoms: drawn pictures beside them. weights: a file; None: the shipped ones. rounds of so many `corrections`, each
    followed by a retraining of `epochs`. reference, replay: see `Retraining`. pretrained: see `Assignment`.
    """

    spec: ModelSpec
    source: Source
    base: int = 24
    base_epochs: int = 25
    phantoms: int = 60
    weights: Path | None = None
    rounds: int = 2
    corrections: int = 30
    epochs: int = 5
    reference: Path | None = None
    replay: Path | None = None
    pretrained: Path | None = None

    def told(self) -> dict[str, Any]:
        """JSON-ready; but for where the data lie."""
        told = {**asdict(replace(self, spec=None)), "spec": self.spec.name}
        del told["source"]["folder"]
        return json.loads(json.dumps(told, default=str))


@dataclass(frozen=True)
class Site:
    """The folders of one simulated server, and the base that it was started with. seed: of the retraining."""

    curve: Curve
    folder: Path
    base: Path | None
    seed: int

    @property
    def app(self) -> Path:
        """What `textseg versions --app` takes."""
        return self.folder / "app"

    @property
    def studies(self) -> Path:
        """Where a server has its pictures."""
        return self.folder / "studies"

    @property
    def store(self) -> Path:
        """What the server keeps beside the pictures, the hold-out's note among it."""
        return self.studies / ".textseg"

    @property
    def versions(self) -> Versions:
        """Of the model."""
        spec = self.curve.spec
        return Versions(self.app / "model" / spec.name, spec, self.base, self.curve.pretrained)


Teach = Callable[[Site, Sequence[Labelled], Sequence[Labelled]], None]


def teach_in_process(site: Site, before: Sequence[Labelled], new: Sequence[Labelled]) -> None:
    """One round: all labels so far, retrained on as a server's training process does it. Raises as `retrain`."""
    curve, versions = site.curve, site.versions
    task = Retraining(
        spec=curve.spec,
        versions=versions,
        holdout=HoldOut(site.store),
        runs=versions.folder / "runs",
        own_reference=curve.reference,
        replay=curve.replay,
        epochs=curve.epochs,
        seed=site.seed,
        pretrained=curve.pretrained,
    )
    retrain(task, gather([*before, *new], curve.spec.name))


def run_curve(curve: Curve, output: Path, seeds: Sequence[int], teach: Callable[[int], Teach]) -> list[dict[str, Any]]:
    """All rounds of all seeds that are not done yet; returns the results of all. teach: of a seed.

    Raises OptionError where the folder holds another curve, and what data, training and server raise.
    """
    begin(curve, output)
    runs = [SeedRun(curve, output / f"seed{seed}", seed, teach(seed)) for seed in seeds]
    return [result for run in runs for result in run.results()]


def begin(curve: Curve, output: Path, **more: Any) -> None:
    """Note what is asked for. Raises OptionError for a folder that holds another curve."""
    path, told = output / TASK, curve.told() | more
    if path.is_file():
        before = from_json(path.read_bytes(), str(path))
        other = [key for key in told if before.get(key) != told[key]]
        if other:
            raise OptionError(f"{output} holds a curve with other options ({', '.join(other)}). Name another --output.")
    write_whole(path, to_json(told), output)


def base_recipe(recipe: Recipe, epochs: int, phantoms: int) -> Recipe:
    """A recipe for few pictures: small steps, not averaged; from ImageNet, for the shipped weights have seen all."""
    changes = {"batch": BATCH, "average": 0.0, "warm_up": WARM_UP, "encoder_from": ""}
    augment = replace(recipe.augment, healthy=HEALTHY)
    return replace(recipe, epochs=epochs, phantoms=phantoms, augment=augment, **changes)


@dataclass(frozen=True)
class SeedRun:
    """All rounds of one seed, in its folder."""

    curve: Curve
    folder: Path
    seed: int
    teach: Teach

    def results(self) -> list[dict[str, Any]]:
        """Of the base and of every round; what is not there yet is done now."""
        numbers = range(self.curve.rounds + 1)
        if not all(map(self.read, numbers)):
            self._go_on()
        return [self.read(number) for number in numbers]

    def _go_on(self) -> None:
        curve = self.curve
        lessons = draw_lessons(curve.source, curve.base, curve.rounds, curve.corrections, self.seed)
        base = self.base(lessons)
        if not self.read(0):
            self.keep(0, {"served": figures_of(curve, base, lessons)})
        labels = [corrected(part, self.folder / "labels") for part in lessons.rounds]
        for number in range(1, curve.rounds + 1):
            if not self.read(number):
                before = [label for part in labels[: number - 1] for label in part]
                self.round(number, self.fresh_site(number, base), before, labels[number - 1], lessons)

    def base(self, lessons: Lessons) -> Path | None:
        """The weights that the site starts with, trained as `textseg train` does it, from where it was broken off."""
        curve = self.curve
        if not lessons.base:
            return curve.weights
        path = self.folder / "base" / f"{curve.spec.name}.safetensors"
        if self.read(0):
            return path
        data = write_base(lessons.base, self.folder / "base_data")
        recipe = base_recipe(recipe_of(curve.spec), curve.base_epochs, curve.phantoms)
        given = {"seed": self.seed, "device": "cpu", "workers": 0, "pretrained": curve.pretrained}
        return fit(Assignment(curve.spec, recipe, data, path.parent, **given))

    def site(self, number: int, base: Path | None) -> Site:
        """As a round left it."""
        return Site(self.curve, self.folder / f"round{number}", base, 1000 * self.seed + number)

    def fresh_site(self, number: int, base: Path | None) -> Site:
        """As the round before left it."""
        site, before = self.site(number, base), self.site(number - 1, base)
        shutil.rmtree(site.folder, ignore_errors=True)
        if number > 1:
            shutil.copytree(before.folder, site.folder, ignore=shutil.ignore_patterns("runs", "logs"))
        site.store.mkdir(parents=True, exist_ok=True)
        return site

    def round(
        self, number: int, site: Site, before: Sequence[Labelled], new: Sequence[Labelled], lessons: Lessons
    ) -> None:
        """Teach it new labels beside those before, measure what serves then, and keep the result."""
        started = time.monotonic()
        self.teach(site, before, new)
        seconds = round(time.monotonic() - started)
        verdict, version = site.versions.verdicts()[-1], site.versions.served()
        logger.info("seed %d, round %d: %s", self.seed, number, verdict.sentence)
        told = {"verdict": verdict.sentence, "published": verdict.accepted, "version": version.version}
        told |= {"seconds": seconds, "gate": verdict.report}
        same = not verdict.accepted
        served = self.read(number - 1)["served"] if same else figures_of(self.curve, version.weights, lessons)
        self.keep(number, {**told, "served": served})

    def keep(self, number: int, result: dict[str, Any]) -> None:
        """Keep what came of a round, 0: of the base."""
        told = {"seed": self.seed, "round": number, **result}
        write_whole(self.folder / f"round{number}.json", to_json(told), self.folder)

    def read(self, number: int) -> dict[str, Any] | None:
        """What `keep` kept; None where there is nothing."""
        path = self.folder / f"round{number}.json"
        told = from_json(path.read_bytes(), str(path)) if path.is_file() else None
        return told and {key: value for key, value in told.items() if key != "schema"}


def figures_of(curve: Curve, weights: Path | None, lessons: Lessons) -> dict[str, Any]:
    """What weights score on the pictures kept apart, as the gate measures it."""
    measured = measure(Predictor.load(curve.spec, weights, pretrained=curve.pretrained), lessons.measured)
    return {**measured.figures(), "scores": asdict(measured)}


def scores_of(result: dict[str, Any]) -> Measured:
    """What served after a round."""
    return Measured(**{key: tuple(v) if isinstance(v, list) else v for key, v in result["served"]["scores"].items()})
