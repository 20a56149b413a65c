"""The train task: MONAI Label's training process gathers what people labelled, retrains, and tells how far it is."""

import logging
import os
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.train import TrainTask

from textseg.engine.predictor import Predictor
from textseg.engine.trainer import Epoch
from textseg.errors import OptionError, TextSegError
from textseg.learning.corrections import gather
from textseg.learning.holdout import HoldOut
from textseg.learning.progress import Progress, ProgressFile
from textseg.learning.retrain import GATE, NEVER, Retraining, alone, retrain
from textseg.learning.versions import Versions
from textseg.server.labelled import labelled_by_people
from textseg.server.studies import Studies
from textseg.text.hints import shown

EPOCHS, MOST_EPOCHS = 5, 1000
NICE = 10  # requests go first
CHECK_SECONDS = 1.0
logger = logging.getLogger(__name__)


class TextSegTrain(TrainTask):
    """Retraining of one served model. Its settings are those of the server, see `conf.SETTINGS`."""

    def __init__(self, predictor: Predictor, versions: Versions, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(f"Learns from the corrected masks; a gate keeps what would be worse. {predictor.spec.title}.")
        self.spec, self.versions, self.spoken = predictor.spec, versions, predictor.spoken
        self._settings, self._runs = dict(settings), folder / "runs"
        self._progress = ProgressFile(folder)

    def config(self) -> dict[str, Any]:
        """What a viewer lets its user set."""
        publish = self._settings["publish"]
        return {"max_epochs": EPOCHS, "publish": [publish, *({GATE, NEVER} - {publish})], "device": ["auto", "cpu"]}

    def stats(self) -> dict[str, Any]:
        """How far the last training is, and what became of it."""
        return self._progress.read()

    def check(self, request: Mapping[str, Any]) -> None:
        """Raises OptionError for what `__call__` would not take."""
        _epochs(request)
        _choice(request, "publish", (GATE, NEVER), self._settings["publish"])
        _choice(request, "device", ("auto", "cpu", "cuda"), "auto")

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Retrain, in this process. Returns the stats. Raises TextSegError, which the stats tell as well."""
        self.check(request)
        if not isinstance(datastore, Studies):
            raise OptionError("Pictures of a DICOMweb archive cannot be learned from yet. Serve a folder of studies.")
        _stay_behind()
        before = Progress(total_epochs=_epochs(request), state="training", best_metric=self._last_metric())
        try:
            return self._retrained(request, datastore, before)
        except TextSegError as error:
            self._progress.write(replace(before, state="failed", verdict=f"not trained: {error}"))
            raise

    def _retrained(self, request: Mapping[str, Any], studies: Studies, progress: Progress) -> dict[str, Any]:
        with alone(self._runs):
            self._progress.write(progress)
            left_out: list[str] = []
            corrections = gather(labelled_by_people(studies, left_out), self.spec.name, self.spoken)
            corrections.left_out.extend(left_out)
            progress = replace(progress, told=corrections.told(), left_out=tuple(corrections.left_out))

            def after_epoch(epoch: Epoch) -> None:
                told = replace(progress, epoch=epoch.number, loss=epoch.loss, total_time=self._progress.clock())
                self._progress.write(told)

            outcome = retrain(
                Retraining(
                    spec=self.spec,
                    versions=self.versions,
                    holdout=HoldOut(studies.keeping.store.layout.root),
                    runs=self._runs,
                    own_reference=self._settings["reference"],
                    replay=self._settings["replay"],
                    publish=_choice(request, "publish", (GATE, NEVER), self._settings["publish"]),
                    epochs=_epochs(request),
                    seed=int(time.time()),
                    device=_device(request),
                    pretrained=self._settings["pretrained"],
                    after_epoch=after_epoch,
                ),
                corrections,
            )
        served = "candidate" if outcome.published else "served"
        metric = outcome.report["gate"][served]["reference"]["dice_image"]
        self._progress.write(
            replace(
                progress,
                epoch=progress.total_epochs,
                total_time=self._progress.clock(),
                best_metric=round(metric, 4),
                state="done",
                verdict=outcome.verdict,
            )
        )
        return self.stats()

    def _last_metric(self) -> float:
        metric = self.stats().get("best_metric")
        return float(metric) if isinstance(metric, int | float) else 0.0


def _stay_behind() -> None:
    """A training leaves half of the cores to the server, gives way to it, and ends when the server does."""
    os.nice(NICE)
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(CHECK_SECONDS)
        logger.warning("the server is gone: its training ends")
        os._exit(1)

    threading.Thread(target=watch, name="parent watch", daemon=True).start()


def _epochs(request: Mapping[str, Any]) -> int:
    value = request.get("max_epochs", EPOCHS)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_EPOCHS:
        raise OptionError(f"max_epochs is a whole number from 1 to {MOST_EPOCHS}, not {shown(value)}.")
    return value


def _choice(request: Mapping[str, Any], key: str, choices: tuple[str, ...], default: str) -> str:
    value = request.get(key, default)
    value = value[0] if isinstance(value, list) and value else value  # a viewer that sends the choices as they are
    if value not in choices:
        raise OptionError(f"{key} is one of {', '.join(choices)}, not {shown(value)}.")
    return value


def _device(request: Mapping[str, Any]) -> str:
    wanted = _choice(request, "device", ("auto", "cpu", "cuda"), "auto")
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted
