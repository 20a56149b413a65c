"""What each of the processes does that test_distributed.py starts: two tiny trainings, then its own weights stored."""

import sys
from dataclasses import replace
from pathlib import Path

import ignite.distributed as idist
import torch
from tiny_training import RECIPE, pictures, run, tiny

from textseg.engine.distributed import processes

# Of five pictures four make a step, and the last one another, which leaves one process without any.
LONG, COUNT = replace(RECIPE, epochs=3, average=0.9, clip=0.5, patience=5), 5


def main(folder: Path) -> None:
    """One step with the norm in evaluation mode; three epochs with a norm that learns."""
    torch.set_num_threads(1)
    with processes("cpu"):
        run(tiny(norm=True, frozen=True), RECIPE, pictures(4), folder / "step")
        network, told = tiny(norm=True), []
        trained = run(network, LONG, pictures(COUNT), folder / "long", after_epoch=told.append, board=folder / "board")
        weights = network.state_dict()
        outcome = {"weights": weights, "epoch": trained.epoch, "dice": trained.dice, "told": len(told)}
        torch.save(outcome, folder / f"rank{idist.get_rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
