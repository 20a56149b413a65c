"""The train task: MONAI Label's training process gathers what people labelled, retrains, and tells how far it is."""

import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from textseg.data.store.durable import iso_time
from textseg.engine.reports import EpochDone
from textseg.errors import OptionError
from textseg.learning.corrections import Corrections, gather
from textseg.learning.current import CurrentPredictor
from textseg.learning.holdout import HoldOut
from textseg.learning.progress import DONE, FAILED, TRAINING, Progress, ProgressFile
from textseg.learning.retrain import GATE, NEVER, Retraining, alone, retrain_alone
from textseg.server.conf import choice_of, path_of
from textseg.server.labelled import labelled_by_people
from textseg.server.studies import Studies
from textseg.text.hints import shown

EPOCHS, MOST_EPOCHS = 5, 1000
PUBLISH = (GATE, NEVER)
NICE = 10  # requests go first
CHECK_SECONDS = 1.0
RUNS = "runs"  # beside the versions of a model
SERVER = "TEXTSEG_SERVER_PROCESS"  # environment of a training: the number of the process that it must not outlive
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSettings:
    """What the server's settings say of all trainings. reference, replay: folders or zips. publish: gate or never."""

    reference: Path | None = None
    replay: Path | None = None
    publish: str = GATE


def training_settings(conf: Mapping[str, str], studies: str) -> TrainingSettings:
    """Raises OptionError for settings that cannot be, a reference set that submissions can reach among them."""
    reference = path_of(conf, "reference")
    if reference and reference.resolve().is_relative_to(Path(studies).resolve()):
        raise OptionError(f"--conf reference {reference}: it lies in the studies, where labels are submitted. Move it.")
    return TrainingSettings(reference, path_of(conf, "replay"), choice_of(conf, "publish", PUBLISH))


class TextSegTrain(TrainTask):
    """Retraining of one served model."""

    def __init__(self, current: CurrentPredictor, settings: TrainingSettings) -> None:
        super().__init__(f"Learns from corrected masks; a gate keeps back what would be worse. {current.spec.title}.")
        self.current, self._settings = current, settings
        self._progress = ProgressFile(current.versions.folder)

    def config(self) -> dict[str, Any]:
        """What a viewer lets its user set."""
        choices = PUBLISH if self._settings.publish == GATE else (NEVER,)
        return {"max_epochs": EPOCHS, "publish": list(choices)}

    def stats(self) -> dict[str, Any]:
        """How far the last training is, and what became of it."""
        return self._progress.read()

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises OptionError for what `__call__` would not take."""
        _epochs(request)
        self._publish(request)

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Retrain, in this process. Returns the stats. Raises TextSegError, which the stats tell as well."""
        self.check(request)
        if not isinstance(datastore, Studies):
            raise OptionError("Pictures of a DICOMweb archive cannot be learned from yet. Serve a folder of studies.")
        runs = self.current.versions.folder / RUNS
        with alone(runs):
            progress = Progress(
                total_epochs=_epochs(request),
                best_metric=self._last_metric(),
                state=TRAINING,
                started=iso_time(),
                process=os.getpid(),
            )
            self._progress.write(progress)
            try:
                corrections = self._gathered(datastore)
                progress = replace(progress, told=corrections.told(), left_out=tuple(corrections.left_out))
                return self._retrained(self._task(request, datastore, runs), corrections, progress)
            except Exception as error:
                self._tell(progress, state=FAILED, verdict=f"not trained: {error}")
                raise

    def _retrained(self, task: Retraining, corrections: Corrections, progress: Progress) -> dict[str, Any]:
        def after_epoch(done: EpochDone) -> None:
            self._tell(progress, epoch=done.epoch, loss=done.loss)

        outcome = retrain_alone(replace(task, after_epoch=after_epoch), corrections)
        served = outcome.report["gate"]["candidate" if outcome.published else "served"]
        dice = served["holdout"]["dice_image"] or served["reference"]["dice_image"]
        self._tell(progress, epoch=progress.total_epochs, best_metric=dice, state=DONE, verdict=outcome.verdict)
        return self.stats()

    def _gathered(self, studies: Studies) -> Corrections:
        left_out: list[str] = []
        predictor = self.current.get()
        corrections = gather(labelled_by_people(studies, left_out), predictor.spec.name, predictor.spoken)
        corrections.left_out.extend(left_out)
        return corrections

    def _task(self, request: Mapping[str, Any], studies: Studies, runs: Path) -> Retraining:
        versions, settings = self.current.versions, self._settings
        return Retraining(
            spec=versions.spec,
            versions=versions,
            holdout=HoldOut(studies.keeping.store.layout.root),
            runs=runs,
            own_reference=settings.reference,
            replay=settings.replay,
            publish=self._publish(request),
            epochs=_epochs(request),
            seed=int(time.time()),
            device="cuda" if torch.cuda.is_available() else "cpu",
            pretrained=versions.pretrained,
        )

    def _tell(self, progress: Progress, **changed: Any) -> None:
        self._progress.write(replace(progress, total_time=self._progress.clock(), **changed))

    def _publish(self, request: Mapping[str, Any]) -> str:
        value = request.get("publish", self._settings.publish)
        value = value[0] if isinstance(value, list) and value else value  # a viewer that sends the choices as they are
        if value not in PUBLISH:
            raise OptionError(f"publish is one of {', '.join(PUBLISH)}, not {shown(value)}.")
        return NEVER if self._settings.publish == NEVER else value

    def _last_metric(self) -> float:
        metric = self.stats().get("best_metric")
        return float(metric) if isinstance(metric, int | float) else 0.0


def tell_trainings() -> None:
    """In the server: those that it starts know by this whose they are."""
    os.environ[SERVER] = str(os.getpid())


def last_start(trainers: Iterable[TextSegTrain]) -> str:
    """When the last training of any of these began, ISO 8601; "" for never."""
    return max((str(trainer.stats().get("started") or "") for trainer in trainers), default="")


def stay_behind() -> None:
    """In a training's process: it leaves half of the cores to its server, gives way to it, and ends with it."""
    os.nice(NICE)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    server = int(os.environ.get(SERVER, os.getppid()))

    def watch() -> None:
        while os.getppid() == server:
            time.sleep(CHECK_SECONDS)
        logger.warning("the server is gone: its training ends")
        os._exit(1)

    threading.Thread(target=watch, name="server watch", daemon=True).start()


def _epochs(request: Mapping[str, Any]) -> int:
    value = request.get("max_epochs", EPOCHS)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_EPOCHS:
        raise OptionError(f"max_epochs is a whole number from 1 to {MOST_EPOCHS}, not {shown(value)}.")
    return value
