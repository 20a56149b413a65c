"""Trainings of a tiny network: accumulation, what is told of them, divergence, no validation."""

import errno
import math
import re
from dataclasses import replace

import pytest
import torch
from ignite.engine import Events
from ignite.handlers import checkpoint
from monai.engines import SupervisedTrainer
from tiny_training import RECIPE, SEED, gradients, newest_checkpoint, pictures, run, tiny
from torch import nn
from torch.utils.data import DataLoader

from textseg.engine.handlers import SKIPPED, attach_losses
from textseg.engine.reports import EpochDone
from textseg.engine.steps import EpochPasses
from textseg.errors import OptionError, TrainingDiverged

PIECES = replace(RECIPE, batch=1, accumulate=4)


class Cut(Exception):
    """Breaks a training off."""


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("pieces", [PIECES, replace(RECIPE, batch=2, accumulate=2)], ids=["one by one", "two by two"])
@pytest.mark.parametrize("count", [4, 3], ids=["a whole step", "the rest of an epoch"])
def test_accumulated_gradients_are_those_of_the_joint_batch(tmp_path, pieces, count):
    run(tiny(norm=True, frozen=True), RECIPE, pictures(count), tmp_path / "joint")
    run(tiny(norm=True, frozen=True), pieces, pictures(count), tmp_path / "pieces")
    both = zip(gradients(tmp_path / "joint"), gradients(tmp_path / "pieces"), strict=True)
    assert max((one - other).abs().max().item() for one, other in both) < 1e-5


@pytest.mark.parametrize("count", [8, 7, 5])
def test_rate_clipping_and_average_go_by_steps(tmp_path, count):
    many = {"epochs": 3, "clip": 0.01, "average": 0.9, "schedule": "cosine", "warm_up": 2}
    joint, pieces = tiny(), tiny()
    for network, recipe, name in ((joint, RECIPE, "joint"), (pieces, PIECES, "pieces")):
        run(network, replace(recipe, **many), pictures(count), tmp_path / name)
    first, second = newest_checkpoint(tmp_path / "joint"), newest_checkpoint(tmp_path / "pieces")
    assert first["schedule"]["last_epoch"] == second["schedule"]["last_epoch"] == 6
    assert first["kept"]["n_averaged"] == second["kept"]["n_averaged"] == 5  # from the end of the first epoch on
    for part in ("net", "kept"):
        for name, value in first[part].items():
            torch.testing.assert_close(second[part][name], value, atol=1e-5, rtol=0)


def test_a_break_changes_nothing_where_gradients_are_accumulated(tmp_path):
    def cut(done: EpochDone) -> None:
        raise Cut

    recipe = replace(PIECES, epochs=3, average=0.9)
    whole = run(tiny(norm=True), recipe, pictures(6), tmp_path / "whole")
    with pytest.raises(Cut):
        run(tiny(norm=True), recipe, pictures(6), tmp_path / "broken", after_epoch=cut)
    resumed = run(tiny(norm=True), recipe, pictures(6), tmp_path / "broken")
    first, second = newest_checkpoint(tmp_path / "whole"), newest_checkpoint(tmp_path / "broken")
    assert same(first["net"], second["net"]) and same(first["kept"], second["kept"])
    assert same(whole.network.state_dict(), resumed.network.state_dict())


def test_a_checkpoint_that_cannot_be_written_costs_no_earlier_one(tmp_path, monkeypatch):
    """The disk is full at the second epoch's: the training goes on from the first, and what it leaves does not grow."""
    write, recipe = checkpoint.DiskSaver._save_func, replace(RECIPE, epochs=4)

    def full(saver: object, content: dict, path: str, *rest: object) -> None:
        if content["trainer"]["iteration"] == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(saver, content, path, *rest)

    with monkeypatch.context() as patched, pytest.raises(OSError, match="No space"):
        patched.setattr(checkpoint.DiskSaver, "_save_func", full)
        run(tiny(), recipe, pictures(6), tmp_path)
    assert newest_checkpoint(tmp_path)["trainer"]["iteration"] == 2
    done: list[int] = []
    run(tiny(), recipe, pictures(6), tmp_path, after_epoch=lambda epoch: done.append(epoch.epoch))
    assert done == [2, 3, 4] and len(list(tmp_path.glob("resume*.pt"))) == 2


def test_after_every_epoch_the_caller_is_told(tmp_path):
    told: list[EpochDone] = []
    trained = run(tiny(), replace(RECIPE, epochs=3), pictures(6), tmp_path, after_epoch=told.append)
    assert [(done.epoch, done.epochs) for done in told] == [(1, 3), (2, 3), (3, 3)]
    assert max(done.dice for done in told) == trained.dice > 0 and told[-1].seconds == trained.seconds
    assert told[0].seconds < told[1].seconds < told[2].seconds
    assert all(0 < done.loss < 1 for done in told) and len({done.loss for done in told}) == 3
    assert (tmp_path / "best.pt").is_file() and newest_checkpoint(tmp_path)["trainer"]["iteration"] == 6


def test_the_mean_loss_is_the_same_in_pieces(tmp_path):
    told: list[EpochDone] = []
    for recipe in (replace(RECIPE, batch=3), replace(PIECES, accumulate=3)):
        run(tiny(), recipe, pictures(4), tmp_path / str(recipe.batch), after_epoch=told.append)
    assert told[1].loss == pytest.approx(told[0].loss, abs=1e-6)


def test_scalars_for_tensorboard(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    told: list[EpochDone] = []
    recipe = replace(RECIPE, epochs=3, schedule="decay")
    run(tiny(), replace(recipe, epochs=2), pictures(4), tmp_path, after_epoch=told.append, board=tmp_path / "board")
    run(tiny(), recipe, pictures(4), tmp_path, after_epoch=told.append, board=tmp_path / "board")
    board = events.EventAccumulator(str(tmp_path / "board")).Reload()

    def scalars(tag: str) -> dict[int, float]:
        return {event.step: event.value for event in board.Scalars(tag)}

    assert scalars("training/loss") == pytest.approx({done.epoch: done.loss for done in told})
    assert scalars("validation/dice") == pytest.approx({done.epoch: done.dice for done in told})
    assert scalars("lr/group_0") == pytest.approx({1: 1e-3, 2: 0.99e-3, 3: 0.99**2 * 1e-3})


@pytest.mark.parametrize(
    ("epoch", "kept"), [(1, "Nothing of it is kept"), (2, "Epoch 1, its best, stays")], ids=["at once", "later"]
)
def test_a_loss_that_is_no_number_ends_the_training(tmp_path, epoch, kept):
    network = tiny()

    def spoil(done: EpochDone) -> None:
        nothing = torch.full_like(network.head.bias, math.nan)
        network.head.bias.data.copy_(nothing)

    if epoch == 1:
        spoil(None)
    with pytest.raises(TrainingDiverged, match=rf"diverged in epoch {epoch}: .*{re.escape(kept)}.*--output"):
        run(network, replace(RECIPE, epochs=3), pictures(4), tmp_path, after_epoch=spoil)
    assert (tmp_path / "best.pt").is_file() == (epoch == 2)


def test_weights_that_are_no_numbers_are_never_stored(tmp_path):
    network = tiny()
    network.head.bias.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(TrainingDiverged):
        run(network, RECIPE, pictures(4), tmp_path)
    assert list(tmp_path.iterdir()) == []


def weight_after(losses: list[float]) -> float:
    """A weight that was 1, after a step of 0.001 times each of these losses, in mixed precision."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.ones_(network.weight)
    samples = {(1, number): {"image": torch.ones(1), "label": torch.zeros(1)} for number in range(len(losses))}
    loader = DataLoader(samples, batch_sampler=EpochPasses(len(losses), SEED, step=1, batch=1))
    left, optimizer = iter(losses), torch.optim.SGD(network.parameters(), lr=1e-3)
    trainer = SupervisedTrainer(
        "cpu", 1, loader, network, optimizer, lambda output, _: output.mean() * next(left), decollate=False, amp=True
    )
    trainer.state.best_epoch, loader.batch_sampler.epoch = 0, 1

    @trainer.on(Events.STARTED)
    def _scale(engine: SupervisedTrainer) -> None:
        engine.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)

    attach_losses(trainer, network)
    trainer.run()
    return network.weight.item()


def test_in_mixed_precision_single_steps_may_be_passed_over():
    assert weight_after([1.0, math.inf, 1.0, math.nan]) == pytest.approx(1 - 2e-3)
    assert weight_after([math.nan] * SKIPPED + [1.0]) == pytest.approx(1 - 1e-3)
    with pytest.raises(TrainingDiverged):
        weight_after([math.nan] * (SKIPPED + 1) + [1.0])


def test_without_validation_the_last_epoch_counts(tmp_path):
    told: list[EpochDone] = []
    recipe = replace(RECIPE, epochs=3, patience=1)
    trained = run(tiny(), recipe, pictures(4), tmp_path, validation=None, after_epoch=told.append)
    assert (trained.epoch, trained.dice) == (3, None) and [done.dice for done in told] == [None] * 3
    assert same(trained.network.state_dict(), newest_checkpoint(tmp_path)["net"])
    assert run(tiny(), recipe, pictures(4), tmp_path, validation=None).epoch == 3


def test_validation_that_is_not_there_is_refused_unless_that_is_said(tmp_path):
    with pytest.raises(OptionError, match="no validation pictures"):
        run(tiny(), RECIPE, pictures(4), tmp_path, validation=[])


def test_frozen_norms_keep_their_statistics_and_learn_their_weights(tmp_path):
    for frozen in (True, False):
        network = tiny(norm=True)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        run(network, replace(RECIPE, epochs=2, frozen_norms=frozen), pictures(4), tmp_path / str(frozen))
        after = network.state_dict()
        kept = [torch.equal(before[name], after[name]) for name in ("norm.running_mean", "norm.running_var")]
        assert kept == [frozen, frozen] and not torch.equal(before["norm.weight"], after["norm.weight"])
