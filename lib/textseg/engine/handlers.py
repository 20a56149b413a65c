"""What is attached to a training: every pass, step and epoch, the average of the weights, the choice, checkpoints."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from monai.engines import IterationEvents, SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointLoader, CheckpointSaver, LrScheduleHandler, ValidationHandler
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

from textseg.data.store.durable import sync_folder
from textseg.engine.checkpoints import RESUME, newest_whole, save_whole, stored_checkpoints, sync_file
from textseg.engine.distributed import is_first, sum_over_processes
from textseg.engine.recipe import Recipe
from textseg.engine.steps import ends_step, pass_of_epoch
from textseg.errors import TrainingDiverged

BEST = "best.pt"
STEP_COMPLETED = Events.ITERATION_COMPLETED(event_filter=ends_step)
SKIPPED = 5  # passes in a row whose loss is no number, in mixed precision, before a training counts as diverged
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


class Place:
    """How far a trainer is, for its checkpoints, which are written between epochs: a break may change the passes."""

    def __init__(self, trainer: SupervisedTrainer) -> None:
        self.trainer = trainer

    def state_dict(self) -> dict[str, Any]:
        """The trainer's."""
        return self.trainer.state_dict()

    def load_state_dict(self, stored: dict[str, Any]) -> None:
        """The trainer's, at the same epoch."""
        epochs, length = stored["iteration"] // stored["epoch_length"], self.trainer.state.epoch_length
        self.trainer.load_state_dict({**stored, "iteration": epochs * length, "epoch_length": length})


def attach_steps(trainer: SupervisedTrainer, recipe: Recipe, schedule: LambdaLR, network: nn.Module, seed: int) -> None:
    """What happens at every epoch's start, pass and step: shuffling, time; gradients summed and clipped, their rate."""
    trainer.state.seconds = 0.0
    trainer.state_dict_user_keys.append("seconds")
    passes = trainer.data_loader.batch_sampler
    clock = {"last": time.monotonic()}

    @trainer.on(Events.EPOCH_STARTED)
    def _shuffle(engine: Engine) -> None:
        passes.epoch = engine.state.epoch
        # dropout too goes on as if nothing had been broken off, and is another one in each process
        torch.manual_seed(seed + engine.state.epoch + 100_000 * idist.get_rank())

    @trainer.on(Events.ITERATION_COMPLETED)
    def _count_time(engine: Engine) -> None:
        now = time.monotonic()
        engine.state.seconds += now - clock["last"]
        clock["last"] = now

    @trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def _before_step(engine: Engine) -> None:
        if not ends_step(engine):
            return
        sum_over_processes(network)
        if recipe.clip:
            if engine.scaler is not None:  # what `clip` bounds are the gradients themselves
                engine.scaler.unscale_(engine.optimizer)
            nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)

    trainer.add_event_handler(STEP_COMPLETED, LrScheduleHandler(schedule, print_lr=False))


@contextmanager
def norms_frozen(network: nn.Module, frozen: bool) -> Iterator[None]:
    """Batch norms are in evaluation mode in every pass inside the `with`, although MONAI's trainer calls `train()`."""
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm)] if frozen else []

    def freeze(*_: object) -> None:
        for norm in norms:
            norm.eval()

    handle = network.register_forward_pre_hook(freeze)
    try:
        yield
    finally:
        handle.remove()


def attach_losses(trainer: SupervisedTrainer, network: nn.Module) -> None:
    """The loss of a pass counts by its pictures in the loss of its step; one that is no number ends the training.

    In mixed precision single steps are passed over by the scaler. Raises TrainingDiverged.
    """
    passes, lost = trainer.data_loader.batch_sampler, {"in a row": 0}

    @trainer.on(IterationEvents.LOSS_COMPLETED)
    def _weigh(engine: Engine) -> None:
        output, number = engine.state.output, pass_of_epoch(engine)
        output["told"], output["counted"] = output["loss"].detach(), passes.counted[number]
        output["loss"] = output["loss"] * (passes.weights[number] * engine.accumulation_steps)  # which MONAI divides by
        lost["in a row"] = 0 if output["told"].isfinite() else lost["in a row"] + 1
        if lost["in a row"] > (min(SKIPPED, len(passes) - 1) if engine.amp else 0):
            raise diverged(engine)

    @trainer.on(IterationEvents.BACKWARD_COMPLETED)
    def _tell(engine: Engine) -> None:
        engine.state.output["loss"] = engine.state.output.pop("told")

    @trainer.on(Events.EPOCH_COMPLETED)
    def _look_at_weights(engine: Engine) -> None:
        if not all(weight.isfinite().all() for weight in network.parameters()):
            raise diverged(engine)


def diverged(engine: Engine) -> TrainingDiverged:
    """The error, with what to do."""
    kept = f"Epoch {engine.state.best_epoch}, its best, stays" if engine.state.best_epoch else "Nothing of it is kept"
    return TrainingDiverged(
        f"The training diverged in epoch {engine.state.epoch}: its loss or a weight is no finite number any more. "
        f"{kept}. Train into another folder (--output) with more pictures in a step (--accumulate), another seed or "
        "another recipe, and look at the pictures that you added last."
    )


def attach_average(trainer: SupervisedTrainer, network: nn.Module, kept: AveragedModel) -> None:
    """The running average of the weights, step by step; in the first epoch it only follows them."""

    @trainer.on(STEP_COMPLETED)
    def _average(engine: Engine) -> None:
        if engine.state.epoch == 1:
            kept.n_averaged.zero_()
        kept.update_parameters(network)


def attach_choice(
    trainer: SupervisedTrainer, evaluator: SupervisedEvaluator | None, recipe: Recipe, kept: AveragedModel, folder: Path
) -> EarlyStopping | None:
    """After every epoch validate and keep the best, stop when nothing gets better; without an evaluator keep the last.

    Returns what counts the epochs without a better one; None where the recipe has no patience.
    """
    trainer.state.best_dice, trainer.state.best_epoch, trainer.state.dice = -1.0, 0, None
    trainer.state_dict_user_keys.extend(("best_dice", "best_epoch"))

    def keep(engine: Engine) -> None:
        state = trainer.state
        state.dice = None if evaluator is None else float(evaluator.state.metrics["dice"])
        told = "no validation" if state.dice is None else f"validation dice_image {state.dice:.4f}"
        logger.info("epoch %d: loss %.4f, %s after %.0f s", state.epoch, state.metrics["loss"], told, state.seconds)
        early = state.epoch < min(recipe.first_kept, recipe.epochs)
        if state.dice is None or (state.dice > state.best_dice and not early):
            state.best_dice, state.best_epoch = state.dice, state.epoch
            if is_first():
                save_whole(kept.module.state_dict(), folder / BEST)

    if evaluator is None:
        trainer.add_event_handler(Events.EPOCH_COMPLETED, keep)
        return None
    evaluator.add_event_handler(Events.COMPLETED, keep)
    ValidationHandler(interval=1, validator=evaluator).attach(trainer)
    if not recipe.patience:
        return None
    stopping = EarlyStopping(recipe.patience, lambda engine: engine.state.metrics["dice"], trainer)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    return stopping


def attach_checkpoints(
    trainer: SupervisedTrainer, parts: dict[str, object], stopping: EarlyStopping | None, folder: Path
) -> None:
    """Save everything after each epoch; go on from the newest whole checkpoint if there is one.

    Two are kept, for MONAI's saver deletes the oldest before the new one is whole, and writes that one in its place. A
    training that `stopping` ended is over when it is called again.
    """
    parts = {**parts, "trainer": Place(trainer), "scaler": Scaling(trainer)} | (
        {"stopping": stopping} if stopping else {}
    )
    saver = CheckpointSaver(str(folder), parts, file_prefix=RESUME, save_interval=1, n_saved=2, epoch_level=True)
    saver.attach(trainer)
    newest, stored = newest_whole(folder), stored_checkpoints(folder) if is_first() else []
    if newest:
        logger.info("going on from %s", newest.name)
        CheckpointLoader(str(newest), parts, map_location="cpu").attach(trainer)

    @trainer.on(Events.EPOCH_COMPLETED)
    def _clear(engine: Engine) -> None:
        """Those of before the break are not the saver's: they go when the first new one is there for good."""
        if stored:
            new = folder / f"{RESUME}_checkpoint_epoch={engine.state.epoch}.pt"  # as the saver calls it
            sync_file(new)
            sync_folder(folder)
        while stored:
            before = stored.pop()
            if before != new:  # a damaged one of this epoch has been written anew
                before.unlink(missing_ok=True)

    if stopping is not None:

        @trainer.on(Events.STARTED)
        def _stay_stopped(engine: Engine) -> None:
            if stopping.counter >= stopping.patience:
                engine.terminate()
