"""The one trainer, on MONAI's SupervisedTrainer: resumable, seeded, keeps the epoch that is best on validation rows."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from ignite.metrics import Average
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.utils import set_determinism
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from textseg.data.augment import Sample
from textseg.engine.build import objective_of
from textseg.engine.handlers import (
    BEST,
    attach_average,
    attach_checkpoints,
    attach_choice,
    attach_losses,
    attach_steps,
    norms_frozen,
)
from textseg.engine.memory import fitting_memory
from textseg.engine.metrics import Overlap
from textseg.engine.recipe import Recipe
from textseg.engine.reports import EpochDone, Told
from textseg.engine.samples import TrainingSamples, batch_of
from textseg.engine.steps import EpochPasses
from textseg.engine.texts import TextReader
from textseg.errors import OptionError
from textseg.registry import ModelSpec


@dataclass(frozen=True)
class Trained:
    """The outcome: the network of the best epoch, which epoch that was, its validation Dice, seconds spent in all.

    dice: None without validation.
    """

    network: nn.Module
    epoch: int
    dice: float | None
    seconds: float


def train(
    spec: ModelSpec,
    network: nn.Module,
    recipe: Recipe,
    training: list[Sample],
    validation: list[Sample] | None,
    folder: Path,
    seed: int,
    device: str = "cpu",
    workers: int = 1,
    verbatim: bool = False,
    after_epoch: Callable[[EpochDone], None] | None = None,
    board: Path | None = None,
) -> Trained:
    """Train a network of the registry, in place, from the weights that it has. verbatim: it reads the samples' words.

    folder: checkpoints go here, and a training that was broken off goes on from there. Selection is by mean Dice per
    image of the (averaged) weights on `validation`, right text; None for no validation: then the last epoch counts, and
    no patience ends the training. device: of this process, see `distributed`. workers: processes that prepare batches,
    0 for none but this one. after_epoch: called by the first process when an epoch's checkpoint is written. board:
    folder of scalars for TensorBoard.

    Raises TrainingDiverged when the loss is no number any more, OutOfMemory when memory does not suffice for one
    picture at a time (see `memory`), OptionError for a step or validation that cannot be.
    """
    if recipe.step < idist.get_world_size():
        raise OptionError(f"{recipe.step} pictures in a step are too few for {idist.get_world_size()} processes.")
    if validation is not None and not validation:
        raise OptionError("There are no validation pictures to choose the best epoch by. Add some.")
    folder.mkdir(parents=True, exist_ok=True)
    told = Told(after_epoch, board)
    task = _Task(spec, network, recipe, training, validation, folder, seed, device, workers, verbatim, told)
    return fitting_memory(task.attempt, network, recipe)


@dataclass(frozen=True)
class _Task:
    """What `train` was asked for, and the parts that one attempt at it is put together from."""

    spec: ModelSpec
    network: nn.Module
    recipe: Recipe
    training: list[Sample]
    validation: list[Sample] | None
    folder: Path
    seed: int
    device: str
    workers: int
    verbatim: bool
    told: Told

    def attempt(self, batch: int) -> Trained:
        """Train to the end, from the newest whole checkpoint if there is one. batch: pictures at a time in here."""
        set_determinism(self.seed)
        network = self.network.train().to(self.device, memory_format=torch.channels_last)
        kept = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(self.recipe.average), use_buffers=True)
        loader = self._loader(batch)
        optimizer = _optimizer(network, self.recipe)
        schedule = LambdaLR(optimizer, rate_schedule(self.recipe, loader.batch_sampler.steps))
        trainer = self._trainer(optimizer, loader)
        evaluator = None if self.validation is None else self._evaluator(kept, self.validation, batch)
        attach_losses(trainer, network)
        attach_steps(trainer, self.recipe, schedule, network, self.seed)
        attach_average(trainer, network, kept)
        stopping = attach_choice(trainer, evaluator, self.recipe, kept, self.folder)
        parts = {"net": network, "kept": kept, "optimizer": optimizer, "schedule": schedule}
        attach_checkpoints(trainer, parts, stopping, self.folder)
        self.told.attach(trainer, evaluator)
        with norms_frozen(network, self.recipe.frozen_norms):
            trainer.run()
        idist.barrier()  # until the first process has written the best
        network.load_state_dict(torch.load(self.folder / BEST, map_location="cpu", weights_only=True))
        return Trained(network.cpu().eval(), trainer.state.best_epoch, trainer.state.best_dice, trainer.state.seconds)

    def _loader(self, batch: int) -> DataLoader:
        process, processes = idist.get_rank(), idist.get_world_size()
        return DataLoader(
            TrainingSamples(self.training, self.recipe.augment, self.seed),
            batch_sampler=EpochPasses(len(self.training), self.seed, self.recipe.step, batch, process, processes),
            collate_fn=partial(batch_of, self._reader),
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )

    def _trainer(self, optimizer: torch.optim.Optimizer, loader: DataLoader) -> SupervisedTrainer:
        trainer = SupervisedTrainer(
            device=self.device,
            max_epochs=self.recipe.epochs,
            train_data_loader=loader,
            network=self.network,
            optimizer=optimizer,
            loss_function=objective_of(self.spec, self.recipe.loss),
            prepare_batch=_prepare,
            decollate=False,
            amp=self.recipe.mixed and self.device.startswith("cuda"),
            optim_set_to_none=True,
            accumulation_steps=loader.batch_sampler.passes,
        )
        Average(_loss_of_pictures, device=self.device)[0].attach(trainer, "loss")
        return trainer

    def _evaluator(self, kept: AveragedModel, validation: list[Sample], batch: int) -> SupervisedEvaluator:
        process, processes = idist.get_rank(), idist.get_world_size()
        own = validation[process::processes] if len(validation) >= processes else validation
        return SupervisedEvaluator(
            device=self.device,
            val_data_loader=DataLoader(own, batch_size=batch, collate_fn=partial(batch_of, self._reader)),
            network=kept,
            prepare_batch=_prepare,
            decollate=False,
            key_val_metric={"dice": Average(_dice_of_batch, device=self.device)[0]},
        )

    @property
    def _reader(self) -> TextReader:
        return TextReader.of(self.network, self.verbatim)


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Numbers below 1e-38 count as zero inside the `with`.

    Saturated sigmoids give such gradients, which a CPU computes ten times slower than others. Enter it before torch
    has computed anything: its worker threads keep the mode in which they were born.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    encoder = {id(weight) for weight in network.encoder.parameters()} if recipe.pretrained else set()
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    groups = [
        {"params": [w for w in trained if id(w) not in encoder], "lr": recipe.rate},
        {"params": [w for w in trained if id(w) in encoder], "lr": recipe.encoder_rate},
    ]
    kind = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
    return kind([group for group in groups if group["params"]], weight_decay=recipe.weight_decay)


def rate_schedule(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Step -> factor on the learning rate. steps: of an epoch."""
    end = steps * (recipe.period or recipe.epochs)

    def cosine(step: int) -> float:
        if step < recipe.warm_up:
            return (step + 1) / recipe.warm_up
        done = (step - recipe.warm_up) / max(1, end - recipe.warm_up)
        return recipe.floor + (1 - recipe.floor) * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def restarts(step: int) -> float:
        return recipe.floor + (1 - recipe.floor) * (1 + math.cos(math.pi * (step // steps % 10) / 10)) / 2

    def decay(step: int) -> float:
        return max(0.99 ** (step // steps), recipe.floor)

    return {"cosine": cosine, "restarts": restarts, "decay": decay}[recipe.schedule]


def _prepare(batch: dict[str, Tensor], device: str | torch.device, non_blocking: bool, **_: object) -> tuple:
    image = batch["image"].to(device, non_blocking=non_blocking, memory_format=torch.channels_last)
    mask, text = (batch[key].to(device, non_blocking=non_blocking) for key in ("mask", "text"))
    return image, mask, (text,), {}


def _loss_of_pictures(output: dict[str, Any]) -> Tensor:
    """N x 1, once for each picture that counts; none of a loss that is no number, whose step the scaler skips."""
    return output["loss"].expand(output["counted"] if output["loss"].isfinite() else 0, 1)


def _dice_of_batch(output: dict[str, Tensor]) -> Tensor:
    predicted, reference = (output["pred"] > 0).cpu().numpy(), (output["label"] > 0).cpu().numpy()
    return torch.tensor([[Overlap.of(p, r).dice()] for p, r in zip(predicted, reference, strict=True)])
