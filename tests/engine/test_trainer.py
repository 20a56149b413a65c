"""A training of two epochs on drawn pictures: the best is kept, a break is made good, the seed decides everything."""

import logging
import re
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedTrainer
from monai.utils import set_determinism
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader

from textseg.data.augment import Sample
from textseg.engine import trainer
from textseg.engine.build import build_network
from textseg.engine.handlers import attach_checkpoints, attach_steps
from textseg.engine.metrics import Overlap
from textseg.engine.recipe import Recipe, recipe_of
from textseg.engine.samples import batch_of, draw_samples
from textseg.engine.steps import EpochPasses
from textseg.engine.texts import TextReader
from textseg.engine.trainer import Trained, denormals_as_zero, rate_schedule, train
from textseg.registry import MODELS

SPEC = MODELS["c2fvl-compact"]
# The learning rate does not depend on the number of epochs, so that a training of one is the beginning of one of two.
SCHEDULE = {"schedule": "restarts", "warm_up": 0, "rate": 2e-3, "encoder_rate": 2e-3, "average": 0.0}
RECIPE = replace(recipe_of(SPEC), epochs=2, batch=2, pretrained=False, **SCHEDULE)
SEED = 1


class PowerCut(Exception):
    """What breaks a training off."""


class Fragile(list):
    """Training samples that break off after about `limit` draws."""

    def __init__(self, samples: list[Sample], limit: int = 10**9) -> None:
        super().__init__(samples)
        self.draws, self.limit = 0, limit

    def __getitem__(self, index):
        self.draws += 1
        if self.draws > self.limit:
            raise PowerCut
        return super().__getitem__(index)


@dataclass
class Run:
    """One call of `train`: what came out, how long it took, what it said."""

    folder: Path
    trained: Trained | None = None
    wall: float = 0.0
    said: list[str] = field(default_factory=list)

    @property
    def dices(self) -> list[float]:
        """Validation Dice after each epoch of this call."""
        return [float(found[1]) for line in self.said if (found := re.search(r"dice_image (\d\.\d{4})", line))]


def run(folder: Path, samples: list[Sample], recipe=RECIPE, seed: int = SEED, limit: int = 10**9) -> Run:
    """Train; a power cut ends it without a result."""
    result = Run(folder)
    handler = logging.Handler()
    handler.emit = lambda record: result.said.append(record.getMessage())
    logger = logging.getLogger("textseg.engine.handlers")
    logger.addHandler(handler)
    level, started = logger.level, time.monotonic()
    logger.setLevel(logging.INFO)
    try:
        set_determinism(seed)
        network = build_network(SPEC)
        result.trained = train(SPEC, network, recipe, Fragile(samples, limit), samples[:2], folder, seed, workers=0)
    except PowerCut:
        pass
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    result.wall = time.monotonic() - started
    return result


def newest_checkpoint(folder: Path) -> dict:
    return torch.load(max(folder.glob("resume*.pt"), key=lambda path: path.stat().st_mtime), weights_only=False)


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return draw_samples(4, SEED, SPEC.input_size)


@pytest.fixture(scope="module")
def whole(samples, tmp_path_factory) -> Run:
    """A training that nothing breaks off."""
    return run(tmp_path_factory.mktemp("whole"), samples)


@pytest.fixture(scope="module")
def broken(samples, tmp_path_factory) -> tuple[Run, dict]:
    """The same training broken off in its second epoch, and the checkpoint that is left."""
    cut = run(tmp_path_factory.mktemp("broken"), samples, limit=len(samples) + 2)
    return cut, newest_checkpoint(cut.folder)


@pytest.fixture(scope="module")
def resumed(broken, samples) -> Run:
    """The broken training called again."""
    return run(broken[0].folder, samples)


@pytest.fixture(scope="module")
def short(samples, tmp_path_factory) -> Run:
    """The first epoch alone, by a recipe that would rather keep a later one."""
    return run(tmp_path_factory.mktemp("short"), samples, replace(RECIPE, epochs=1, first_kept=6))


def test_the_best_epoch_is_kept(whole):
    best = max(whole.dices)
    assert len(whole.dices) == RECIPE.epochs
    assert whole.trained.dice == pytest.approx(best, abs=1e-4)
    assert whole.trained.epoch == whole.dices.index(best) + 1


def test_the_network_that_comes_back_has_the_dice_that_is_told(whole, samples):
    batch = batch_of(TextReader.of(whole.trained.network), samples[:2])
    with torch.inference_mode():
        predicted = whole.trained.network(batch["image"], batch["text"]) > 0
    pairs = zip(predicted.numpy(), batch["mask"].numpy() > 0, strict=True)
    dice = sum(Overlap.of(mask, reference).dice() for mask, reference in pairs) / 2
    assert not whole.trained.network.training
    assert dice == pytest.approx(whole.trained.dice, abs=0.02)


def test_seconds_are_counted(whole):
    assert 0 < whole.trained.seconds < whole.wall


def test_a_power_cut_leaves_the_finished_epoch(broken):
    cut, checkpoint = broken
    assert cut.trained is None and len(cut.dices) == 1
    assert checkpoint["trainer"]["iteration"] == 2 and checkpoint["trainer"]["seconds"] > 0
    assert (cut.folder / "best.pt").is_file()


def test_a_training_that_was_broken_off_goes_on(broken, resumed):
    assert any(line.startswith("going on from") for line in resumed.said)
    assert len(resumed.dices) == 1  # the second epoch alone
    assert resumed.trained.seconds > broken[1]["trainer"]["seconds"]


def test_the_epoch_after_the_break_trains_every_part(broken, resumed):
    before, after = broken[1]["net"], newest_checkpoint(resumed.folder)["net"]
    still = [name for name, _ in resumed.trained.network.named_parameters() if torch.equal(before[name], after[name])]
    assert still == []
    assert all(torch.isfinite(value).all() for value in after.values())


def test_a_finished_training_called_again_gives_the_same_at_once(resumed, samples):
    again = run(resumed.folder, samples)
    assert again.dices == [] and again.trained.epoch == resumed.trained.epoch
    assert same(again.trained.network.state_dict(), resumed.trained.network.state_dict())
    assert again.trained.seconds == resumed.trained.seconds


def test_a_break_does_not_forget_how_long_nothing_got_better(samples, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "_dice_of_batch", lambda output: torch.full((len(output["pred"]), 1), 0.5))
    patient, two = replace(RECIPE, epochs=9, patience=2), samples[:2]
    assert len(run(tmp_path, two, patient, limit=2 * len(two) + 1).dices) == 2  # the second was no better
    assert len(run(tmp_path, two, patient).dices) == 1  # nor is the third
    assert run(tmp_path, two, patient).dices == []


def one_step(folder: Path, scale: float | None = None, **changes: object) -> torch.Tensor:
    """How one step changed four weights that were zero; scale: of the gradients, as in mixed precision."""
    network = nn.Linear(4, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    picture = {(epoch, 0): {"image": torch.full((4,), 9.0), "label": torch.zeros(1)} for epoch in (1, 2)}
    loader = DataLoader(picture, batch_sampler=EpochPasses(1, SEED, step=1, batch=1))
    recipe = replace(RECIPE, clip=0.5, **changes)
    training = SupervisedTrainer(
        "cpu", recipe.epochs, loader, network, optimizer, lambda output, _: output.sum(), decollate=False
    )
    if scale:
        training.amp = True
        training.add_event_handler(Events.STARTED, scaled, torch.amp.GradScaler("cpu", init_scale=scale))
    attach_steps(training, recipe, LambdaLR(optimizer, lambda _: 1.0), network, SEED)
    attach_checkpoints(training, {}, None, folder)
    training.run()
    return network.weight.detach()


def scaled(engine: SupervisedTrainer, scaler: torch.amp.GradScaler) -> None:
    engine.scaler = scaler


@pytest.mark.parametrize("scale", [None, 1024.0], ids=["float32", "mixed precision"])
def test_a_step_is_as_long_as_the_recipe_allows(tmp_path, scale):
    assert one_step(tmp_path, scale, epochs=1).norm().item() == pytest.approx(0.5, rel=1e-3)


@pytest.mark.parametrize(("before", "after", "kept"), [(64.0, 8.0, 64.0), (None, 8.0, 8.0), (64.0, None, None)])
def test_the_scale_of_gradients_is_kept_over_a_break(tmp_path, before, after, kept):
    one_step(tmp_path, before, epochs=1)
    one_step(tmp_path, after, epochs=2)
    assert newest_checkpoint(tmp_path)["scaler"].get("scale") == kept


def test_the_same_seed_gives_the_same_weights(whole, broken, short):
    assert same(newest_checkpoint(short.folder)["net"], broken[1]["net"])
    assert same(newest_checkpoint(short.folder)["optimizer"]["state"][0], broken[1]["optimizer"]["state"][0])
    assert broken[0].dices == short.dices == whole.dices[:1]


def test_another_seed_gives_other_weights(broken, samples, tmp_path):
    run(tmp_path, samples, replace(RECIPE, epochs=1), seed=SEED + 1)
    assert not same(newest_checkpoint(tmp_path)["net"], broken[1]["net"])


def test_a_training_shorter_than_its_first_kept_epoch_keeps_the_last(short):
    assert short.trained.epoch == 1 and short.trained.dice == pytest.approx(short.dices[0], abs=1e-4)


def test_tiny_numbers_are_zero_only_while_asked():
    tiny = torch.tensor([1e-39])
    with denormals_as_zero():
        assert (tiny * 1.5).item() == 0
    assert (tiny * 1.5).item() > 0


@pytest.mark.parametrize(
    ("recipe", "by_epoch"),
    [
        ("qata", {0: 3e-4, 5: 2e-4, 9: 1.0489e-4, 10: 3e-4}),
        ("paper", {0: 3e-4, 100: 1.5e-4, 199.99: 0}),
    ],
)
def test_published_learning_rates_of_reclmis(recipe, by_epoch):
    check_rates(recipe_of(MODELS["reclmis"], recipe), by_epoch)


def test_a_cosine_warms_up_and_ends_at_the_floor():
    recipe = replace(RECIPE, schedule="cosine", rate=1.0, warm_up=50, floor=0.1, epochs=6)
    check_rates(recipe, {0: 0.02, 0.5: 1.0, 3.25: 0.55, 5.999: 0.1})


def test_the_published_learning_rate_on_ct_falls_by_a_hundredth_each_epoch():
    check_rates(recipe_of(MODELS["reclmis-ct"]), {0: 3e-4, 1: 2.97e-4, 100: 3e-4 * 0.99**100, 399: 3e-5})


def check_rates(recipe: Recipe, by_epoch: dict[float, float]) -> None:
    """Learning rates at the first step of epochs of 100 steps."""
    factor = rate_schedule(recipe, 100)
    for epoch, rate in by_epoch.items():
        assert recipe.rate * factor(int(epoch * 100)) == pytest.approx(rate, rel=1e-3, abs=1e-8)
