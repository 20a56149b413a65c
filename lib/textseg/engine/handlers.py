"""What is attached to a training: every step and epoch, the average of the weights, the choice, checkpoints."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from ignite.handlers.tqdm_logger import ProgressBar
from monai.engines import IterationEvents, SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointLoader, CheckpointSaver, LrScheduleHandler, StatsHandler, ValidationHandler
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from textseg.engine.recipe import Recipe

RESUME, BEST = "resume", "best.pt"
logger = logging.getLogger(__name__)


class Scaling:
    """The scale of a trainer's gradients in mixed precision, for its checkpoints: `run` makes a new scaler each time.

    Nothing is stored where there is none; a scaler that finds nothing stored begins as a new one.
    """

    def __init__(self, trainer: SupervisedTrainer) -> None:
        self.trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """The scaler's."""
        return self.trainer.scaler.state_dict() if self.trainer.scaler else {}

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """The scaler's."""
        if self.trainer.scaler and stored:
            self.trainer.scaler.load_state_dict(stored)


def attach_steps(trainer: SupervisedTrainer, recipe: Recipe, schedule: LambdaLR, network: nn.Module, seed: int) -> None:
    """What happens at every epoch's start and every step: shuffling, clipping, learning rate, time, progress."""
    trainer.state.seconds = 0.0
    trainer.state_dict_user_keys.append("seconds")
    sampler = trainer.data_loader.sampler
    clock = {"last": time.monotonic()}

    @trainer.on(Events.EPOCH_STARTED)
    def _shuffle(engine: Engine) -> None:
        sampler.epoch = engine.state.epoch
        torch.manual_seed(seed + engine.state.epoch)  # dropout too goes on as if nothing had been broken off

    @trainer.on(Events.ITERATION_COMPLETED)
    def _count_time(engine: Engine) -> None:
        now = time.monotonic()
        engine.state.seconds += now - clock["last"]
        clock["last"] = now

    if recipe.clip:

        @trainer.on(IterationEvents.BACKWARD_COMPLETED)
        def _clip() -> None:
            if trainer.scaler is not None:  # what `clip` bounds are the gradients themselves
                trainer.scaler.unscale_(trainer.optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)

    LrScheduleHandler(schedule, print_lr=False, epoch_level=False).attach(trainer)
    StatsHandler(iteration_log=False, tag_name="loss", output_transform=lambda output: output["loss"]).attach(trainer)
    ProgressBar().attach(trainer, output_transform=lambda output: {"loss": float(output["loss"].detach())})


def attach_average(trainer: SupervisedTrainer, network: nn.Module, kept: AveragedModel) -> None:
    """The running average of the weights; in the first epoch it only follows them."""

    @trainer.on(Events.ITERATION_COMPLETED)
    def _average(engine: Engine) -> None:
        if engine.state.epoch == 1:
            kept.n_averaged.zero_()
        kept.update_parameters(network)


def attach_choice(
    trainer: SupervisedTrainer, evaluator: SupervisedEvaluator, recipe: Recipe, kept: AveragedModel, folder: Path
) -> EarlyStopping | None:
    """Validate after every epoch, keep the best, stop when nothing gets better.

    Returns what counts the epochs without a better one; None where the recipe has no patience.
    """
    trainer.state.best_dice, trainer.state.best_epoch = -1.0, 0
    trainer.state_dict_user_keys.extend(("best_dice", "best_epoch"))

    @evaluator.on(Events.COMPLETED)
    def _keep_best(engine: Engine) -> None:
        dice, epoch = float(engine.state.metrics["val_dice"]), trainer.state.epoch
        logger.info("epoch %d: validation dice_image %.4f after %.0f s", epoch, dice, trainer.state.seconds)
        if dice > trainer.state.best_dice and epoch >= min(recipe.first_kept, recipe.epochs):
            torch.save(kept.module.state_dict(), folder / BEST)
            trainer.state.best_dice, trainer.state.best_epoch = dice, epoch

    ValidationHandler(interval=1, validator=evaluator).attach(trainer)
    if not recipe.patience:
        return None
    stopping = EarlyStopping(recipe.patience, lambda engine: engine.state.metrics["val_dice"], trainer)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    return stopping


def attach_checkpoints(
    trainer: SupervisedTrainer, parts: dict[str, object], stopping: EarlyStopping | None, folder: Path
) -> None:
    """Save everything after each epoch; go on from the newest checkpoint if there is one.

    A training that `stopping` ended is over when it is called again.
    """
    parts = {**parts, "trainer": trainer, "scaler": Scaling(trainer)} | ({"stopping": stopping} if stopping else {})
    saver = CheckpointSaver(str(folder), parts, file_prefix=RESUME, save_interval=1, n_saved=1, epoch_level=True)
    saver.attach(trainer)
    stored = sorted(folder.glob(f"{RESUME}*.pt"), key=lambda path: path.stat().st_mtime)
    if stored:
        logger.info("going on from %s", stored[-1].name)
        CheckpointLoader(str(stored[-1]), parts, map_location="cpu").attach(trainer)
    if stopping is not None:

        @trainer.on(Events.STARTED)
        def _stay_stopped(engine: Engine) -> None:
            if stopping.counter >= stopping.patience:
                engine.terminate()
