"""The one trainer, on MONAI's SupervisedTrainer: resumable, seeded, keeps the epoch that is best on validation rows."""

import logging
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from ignite.engine import Engine, Events
from ignite.handlers import EarlyStopping
from ignite.handlers.tqdm_logger import ProgressBar
from ignite.metrics import Average
from monai.engines import IterationEvents, SupervisedEvaluator, SupervisedTrainer
from monai.handlers import CheckpointLoader, CheckpointSaver, LrScheduleHandler, StatsHandler, ValidationHandler
from monai.utils import set_determinism
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from textseg.data.augment import Sample
from textseg.engine.losses import loss_for
from textseg.engine.metrics import Overlap
from textseg.engine.recipe import Recipe
from textseg.engine.samples import EpochSampler, TrainingSamples, batch_of
from textseg.networks import build_network
from textseg.networks.pretrained import load_encoder
from textseg.registry import ModelSpec

RESUME, BEST = "resume", "best.pt"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """The outcome: the network of the best epoch, which epoch that was, its validation Dice, seconds spent in all."""

    network: nn.Module
    epoch: int
    dice: float
    seconds: float


def train(
    spec: ModelSpec,
    recipe: Recipe,
    training: list[Sample],
    validation: list[Sample],
    folder: Path,
    seed: int,
    device: str = "cpu",
    workers: int = 1,
) -> Trained:
    """Train a network of the registry.

    folder: checkpoints go here, and a training that was broken off goes on from there. Selection is by mean Dice per
    image of the (averaged) weights on `validation`, right text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    set_determinism(seed)
    network = build_network(spec).to(device, memory_format=torch.channels_last)
    if recipe.pretrained:
        load_encoder(network.encoder.features, spec.settings["encoder"])
    kept = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(recipe.average), use_buffers=True)
    loader = _training_loader(training, recipe, seed, workers)
    optimizer = _optimizer(network, recipe)
    schedule = LambdaLR(optimizer, _schedule(recipe, len(loader)))
    trainer = _trainer(spec, recipe, network, optimizer, loader, device)
    evaluator = _evaluator(kept, validation, recipe, device)
    _attach_steps(trainer, recipe, schedule, network, seed)
    _attach_average(trainer, network, kept)
    _attach_choice(trainer, evaluator, recipe, kept, folder)
    _attach_checkpoints(trainer, {"net": network, "kept": kept, "optimizer": optimizer, "schedule": schedule}, folder)
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


def _training_loader(samples: list[Sample], recipe: Recipe, seed: int, workers: int) -> DataLoader:
    return DataLoader(
        TrainingSamples(samples, recipe.augment, seed),
        batch_size=recipe.batch,
        sampler=EpochSampler(len(samples), seed),
        collate_fn=batch_of,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    encoder = {id(weight) for weight in network.encoder.parameters()} if recipe.pretrained else set()
    groups = [
        {"params": [w for w in network.parameters() if id(w) not in encoder], "lr": recipe.rate},
        {"params": [w for w in network.parameters() if id(w) in encoder], "lr": recipe.encoder_rate},
    ]
    kind = torch.optim.AdamW if recipe.weight_decay else torch.optim.Adam
    return kind([group for group in groups if group["params"]], weight_decay=recipe.weight_decay)


def _schedule(recipe: Recipe, steps: int):
    """Iteration -> factor on the learning rate."""
    total = recipe.epochs * steps

    def cosine(step: int) -> float:
        if step < recipe.warm_up:
            return (step + 1) / recipe.warm_up
        done = (step - recipe.warm_up) / max(1, total - recipe.warm_up)
        return 0.02 + 0.98 * (1 + math.cos(math.pi * min(1.0, done))) / 2

    def restarts(step: int) -> float:
        return 0.1 + 0.9 * (1 + math.cos(math.pi * (step // steps % 10) / 10)) / 2

    return cosine if recipe.schedule == "cosine" else restarts


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
        loss_function=loss_for(spec, recipe.loss),
        prepare_batch=_prepare,
        decollate=False,
        amp=device.startswith("cuda"),
        optim_set_to_none=True,
    )


def _evaluator(kept: AveragedModel, validation: list[Sample], recipe: Recipe, device: str) -> SupervisedEvaluator:
    loader = DataLoader(validation, batch_size=recipe.batch, collate_fn=batch_of)
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


def _attach_steps(
    trainer: SupervisedTrainer, recipe: Recipe, schedule: LambdaLR, network: nn.Module, seed: int
) -> None:
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
        trainer.add_event_handler(
            IterationEvents.BACKWARD_COMPLETED, lambda: nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
        )
    LrScheduleHandler(schedule, print_lr=False, epoch_level=False).attach(trainer)
    StatsHandler(iteration_log=False, tag_name="loss", output_transform=lambda output: output["loss"]).attach(trainer)
    ProgressBar().attach(trainer, output_transform=lambda output: {"loss": float(output["loss"].detach())})


def _attach_average(trainer: SupervisedTrainer, network: nn.Module, kept: AveragedModel) -> None:
    """The running average of the weights; in the first epoch it only follows them."""

    @trainer.on(Events.ITERATION_COMPLETED)
    def _average(engine: Engine) -> None:
        if engine.state.epoch == 1:
            kept.n_averaged.zero_()
        kept.update_parameters(network)


def _attach_choice(
    trainer: SupervisedTrainer, evaluator: SupervisedEvaluator, recipe: Recipe, kept: AveragedModel, folder: Path
) -> None:
    """Validate after every epoch, keep the best, stop when nothing gets better."""
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
    if recipe.patience:
        stop = EarlyStopping(recipe.patience, lambda engine: engine.state.metrics["val_dice"], trainer)
        evaluator.add_event_handler(Events.COMPLETED, stop)


def _attach_checkpoints(trainer: SupervisedTrainer, parts: dict[str, object], folder: Path) -> None:
    """Save everything after each epoch; go on from the newest checkpoint if there is one."""
    parts = {**parts, "trainer": trainer}
    saver = CheckpointSaver(str(folder), parts, file_prefix=RESUME, save_interval=1, n_saved=1, epoch_level=True)
    saver.attach(trainer)
    stored = sorted(folder.glob(f"{RESUME}*.pt"), key=lambda path: path.stat().st_mtime)
    if stored:
        logger.info("going on from %s", stored[-1].name)
        CheckpointLoader(str(stored[-1]), parts, map_location="cpu").attach(trainer)
