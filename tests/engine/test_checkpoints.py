"""A training goes on from the newest checkpoint that is whole, whatever a kill or a power cut left of the others."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import RECIPE, pictures, run, tiny
from torch import Tensor, nn

from textseg.engine.recipe import Recipe
from textseg.errors import OutOfMemory

LONG, MORE = replace(RECIPE, epochs=3), replace(RECIPE, epochs=5)
COUNT = 4


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeros_within(path: Path) -> None:
    """As long as it was, but one of its blocks never reached the disk."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 512] = bytes(512)
    path.write_bytes(data)


def trained(network: nn.Module, recipe: Recipe, folder: Path) -> dict[str, Tensor]:
    return run(network, recipe, pictures(COUNT), folder).network.state_dict()


def passes_of(recipe: Recipe, folder: Path) -> int:
    """How many passes a training makes until its end, called (again) there."""
    network = tiny()
    trained(network, recipe, folder)
    return len(network.passes)


@pytest.mark.parametrize("damage", [emptied, cut, zeros_within])
def test_a_damaged_newest_checkpoint_costs_its_epoch_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    unbroken = trained(tiny(), MORE, tmp_path / "unbroken")
    trained(tiny(), LONG, tmp_path / "broken")
    damage(newest := tmp_path / "broken" / "resume_checkpoint_epoch=3.pt")
    with caplog.at_level(logging.INFO, "textseg.engine"):
        again = trained(network := tiny(), MORE, tmp_path / "broken")
    assert len(network.passes) == 3  # of the epochs 3, 4, 5
    assert all(torch.equal(value, unbroken[name]) for name, value in again.items())
    assert f"{newest} is damaged and passed over" in caplog.text
    assert "going on from resume_checkpoint_epoch=2.pt" in caplog.text
    left = {path.name for path in (tmp_path / "broken").glob("resume*")}
    assert left == {"resume_checkpoint_epoch=4.pt", "resume_checkpoint_epoch=5.pt"}


def test_without_a_whole_checkpoint_a_training_begins_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trained(tiny(), LONG, tmp_path)
    for path in tmp_path.glob("resume*"):
        cut(path)
    assert passes_of(LONG, tmp_path) == LONG.epochs
    assert "begins anew" in caplog.text
    assert passes_of(LONG, tmp_path) == 0  # what is there now is whole


def test_a_damaged_checkpoint_stays_until_a_new_one_is_written(tmp_path: Path) -> None:
    trained(tiny(), LONG, tmp_path)
    cut(tmp_path / "resume_checkpoint_epoch=3.pt")
    before = {path.name: path.read_bytes() for path in tmp_path.glob("resume*")}
    with pytest.raises(OutOfMemory):
        trained(tiny(most=0), replace(LONG, batch=1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("resume*")} == before


def test_a_kill_while_the_best_is_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tiny(), LONG, pictures(COUNT), tmp_path, validation=None)
    best, save = torch.load(tmp_path / "best.pt", weights_only=True), torch.save

    def killed(content: object, file: Path) -> None:
        save(content, file)
        cut(file)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tiny(), MORE, pictures(COUNT), tmp_path, validation=None)
    left = torch.load(tmp_path / "best.pt", weights_only=True)
    assert all(torch.equal(value, left[name]) for name, value in best.items())
