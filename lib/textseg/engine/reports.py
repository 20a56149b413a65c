"""What is told of a training while it runs: to the caller after every epoch, to TensorBoard, on the terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ignite.engine import Engine, Events
from ignite.handlers import global_step_from_engine
from ignite.handlers.tensorboard_logger import TensorboardLogger
from ignite.handlers.tqdm_logger import ProgressBar
from monai.engines import SupervisedEvaluator, SupervisedTrainer

from textseg.engine.distributed import is_first


@dataclass(frozen=True)
class EpochDone:
    """epoch, of epochs; seconds: of training so far; dice: on the validation pictures, None without any; loss: mean."""

    epoch: int
    epochs: int
    seconds: float
    dice: float | None
    loss: float


@dataclass(frozen=True)
class Told:
    """Who is told of a training. after_epoch: called after each, when its checkpoint is written. board: a folder."""

    after_epoch: Callable[[EpochDone], None] | None = None
    board: Path | None = None

    def attach(self, trainer: SupervisedTrainer, evaluator: SupervisedEvaluator | None) -> None:
        """Attach all of it, and a bar on a terminal, to the first process; call it after checkpoints are attached."""
        if not is_first():
            return
        ProgressBar(disable=None).attach(trainer, output_transform=lambda output: {"loss": float(output["loss"])})
        if self.board is not None and find_spec("tensorboard") is not None:
            _attach_board(trainer, evaluator, self.board)
        if self.after_epoch is not None:
            trainer.add_event_handler(Events.EPOCH_COMPLETED, _tell, self.after_epoch)


def _tell(engine: Engine, after_epoch: Callable[[EpochDone], None]) -> None:
    state = engine.state
    after_epoch(EpochDone(state.epoch, state.max_epochs, state.seconds, state.dice, state.metrics["loss"]))


def _attach_board(trainer: SupervisedTrainer, evaluator: SupervisedEvaluator | None, folder: Path) -> None:
    """After every epoch the mean loss, the validation Dice and the learning rates that it began with."""
    board = TensorboardLogger(log_dir=str(folder))
    board.attach_opt_params_handler(trainer, Events.EPOCH_STARTED, optimizer=trainer.optimizer)
    board.attach_output_handler(trainer, Events.EPOCH_COMPLETED, tag="training", metric_names=["loss"])
    if evaluator is not None:
        epoch = global_step_from_engine(trainer)
        board.attach_output_handler(
            evaluator, Events.COMPLETED, tag="validation", metric_names=["dice"], global_step_transform=epoch
        )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, board.writer.flush)
    trainer.add_event_handler(Events.COMPLETED, board.close)
