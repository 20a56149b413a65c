"""How far a training is, in a file that others read while it is written: what the viewers' bars show."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from textseg.data.store.durable import make_folder, process_lives, process_started, read_json, to_json, write_whole
from textseg.errors import StoreError

FILE = "train_stats.json"
BEGAN = "process_started"  # tells the process from a later one of its number; earlier versions did not write it
TRAINING, DONE, FAILED, STOPPED = ("training", "done", "failed", "stopped")


@dataclass(frozen=True)
class Progress:
    """State of the last training of a model, under the names that MONAI Label's clients read.

    epoch, total_epochs. total_time: h:mm:ss so far. best_metric: mean Dice per image of the model that serves when it
    is over, of the one before while it runs; 0 where nothing was measured. state: training, done, failed or stopped.
    verdict: a sentence, when it is over. told: how many labels there were; left_out: sentences about those that were
    not trained on. started: ISO 8601. process: its number.
    """

    epoch: int = 0
    total_epochs: int = 0
    total_time: str = ""
    best_metric: float = 0.0
    loss: float | None = None
    state: str = ""
    verdict: str = ""
    told: str = ""
    left_out: tuple[str, ...] = ()
    started: str = ""
    process: int = 0


class ProgressFile:
    """Where the progress of one model's trainings is kept."""

    def __init__(self, folder: Path) -> None:
        self._path, self._unfinished = folder / FILE, folder / ".progress"
        self._started = time.monotonic()

    def write(self, progress: Progress) -> None:
        """Replace what was there, with the time at which the process began. Raises OSError."""
        make_folder(self._path.parent)
        told = {**asdict(progress), BEGAN: process_started(progress.process)}
        write_whole(self._path, to_json(told), self._unfinished, power_cuts=False)

    def read(self) -> dict[str, Any]:
        """What was written last, {} where there is nothing that can be read."""
        try:
            told = read_json(self._path) or {}
        except (OSError, StoreError):
            return {}
        if told.get("state") == TRAINING and not _goes_on(told):
            told |= {"state": STOPPED, "verdict": "not trained: it was stopped before its end"}
        return {key: value for key, value in told.items() if key != "schema"}

    def clock(self) -> str:
        """Time since this object was made, h:mm:ss."""
        minutes, seconds = divmod(round(time.monotonic() - self._started), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


def _goes_on(told: dict[str, Any]) -> bool:
    return process_lives(str(told.get("process")), str(told.get(BEGAN) or ""))
