"""The one trainer, on MONAI's SupervisedTrainer: resumable, seeded, keeps the epoch that is best on validation rows."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

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
from textseg.engine.handlers import BEST, attach_average, attach_checkpoints, attach_choice, attach_steps
from textseg.engine.metrics import Overlap
from textseg.engine.recipe import Recipe
from textseg.engine.samples import EpochSampler, TrainingSamples, batch_of
from textseg.engine.texts import TextReader
from textseg.registry import ModelSpec


@dataclass(frozen=True)
class Trained:
    """The outcome: the network of the best epoch, which epoch that was, its validation Dice, seconds spent in all."""

    network: nn.Module
    epoch: int
    dice: float
    seconds: float


def train(
    spec: ModelSpec,
    network: nn.Module,
    recipe: Recipe,
    training: list[Sample],
    validation: list[Sample],
    folder: Path,
    seed: int,
    device: str = "cpu",
    workers: int = 1,
    verbatim: bool = False,
) -> Trained:
    """Train a network of the registry, in place. verbatim: it reads the samples' own words.

    folder: checkpoints go here, and a training that was broken off goes on from there. Selection is by mean Dice per
    image of the (averaged) weights on `validation`, right text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    set_determinism(seed)
    network = network.train().to(device, memory_format=torch.channels_last)
    reader = TextReader.of(network, verbatim)
    kept = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    loader = _training_loader(reader, training, recipe, seed, workers)
    optimizer = _optimizer(network, recipe)
    schedule = LambdaLR(optimizer, rate_schedule(recipe, len(loader)))
    trainer = _trainer(spec, recipe, network, optimizer, loader, device)
    evaluator = _evaluator(reader, kept, validation, recipe, device)
    attach_steps(trainer, recipe, schedule, network, seed)
    attach_average(trainer, network, kept)
    stopping = attach_choice(trainer, evaluator, recipe, kept, folder)
    parts = {"net": network, "kept": kept, "optimizer": optimizer, "schedule": schedule}
    attach_checkpoints(trainer, parts, stopping, folder)
    trainer.run()
    best = torch.load(folder / BEST, map_location="cpu", weights_only=True)
    network.load_state_dict(best)
    return Trained(network.cpu().eval(), trainer.state.best_epoch, trainer.state.best_dice, trainer.state.seconds)


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


def _training_loader(reader: TextReader, samples: list[Sample], recipe: Recipe, seed: int, workers: int) -> DataLoader:
    return DataLoader(
        TrainingSamples(samples, recipe.augment, seed),
        batch_size=recipe.batch,
        sampler=EpochSampler(len(samples), seed),
        collate_fn=partial(batch_of, reader),
        num_workers=workers,
        persistent_workers=workers > 0,
    )


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


def _trainer(
    spec: ModelSpec,
    recipe: Recipe,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    loader: DataLoader,
    device: str,
) -> SupervisedTrainer:
    return SupervisedTrainer(
        device=device,
        max_epochs=recipe.epochs,
        train_data_loader=loader,
        network=network,
        optimizer=optimizer,
        loss_function=objective_of(spec, recipe.loss),
        prepare_batch=_prepare,
        decollate=False,
        amp=recipe.mixed and device.startswith("cuda"),
        optim_set_to_none=True,
    )


def _evaluator(
    reader: TextReader, kept: AveragedModel, validation: list[Sample], recipe: Recipe, device: str
) -> SupervisedEvaluator:
    loader = DataLoader(validation, batch_size=recipe.batch, collate_fn=partial(batch_of, reader))
    return SupervisedEvaluator(
        device=device,
        val_data_loader=loader,
        network=kept,
        prepare_batch=_prepare,
        decollate=False,
        key_val_metric={"val_dice": Average(_dice_of_batch, device=device)[0]},
    )


def _dice_of_batch(output: dict[str, Tensor]) -> Tensor:
    predicted, reference = (output["pred"] > 0).cpu().numpy(), (output["label"] > 0).cpu().numpy()
    return torch.tensor([[Overlap.of(p, r).dice()] for p, r in zip(predicted, reference, strict=True)])
