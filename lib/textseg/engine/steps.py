"""How an epoch is cut: into steps of the optimizer, a step into shares of the processes, a share into passes."""

from collections.abc import Iterator

import numpy as np
from ignite.engine import Engine
from torch.utils.data import Sampler


class EpochPasses(Sampler[list[tuple[int, int]]]):
    """The batches that one process passes through the network in an epoch, each of indices (epoch, number).

    A fresh shuffle every epoch, by seed and epoch alone: a resumed training goes on where it stopped, and a step is
    made on the same pictures however many passes and processes share it. What is left of an epoch and fills no step is
    a smaller one. A process that has fewer pictures in it than passes takes one more that counts nothing.

    count: pictures of an epoch. step: of a step, of all processes. batch: at most so many in one pass of one process.
    passes: in a full step. steps: of an epoch. counted: of each pass, how many pictures count. weights: what part of
    the pictures of its step these are.
    """

    def __init__(self, count: int, seed: int, step: int, batch: int, process: int = 0, processes: int = 1) -> None:
        self.count, self.seed, self.epoch = count, seed, 0
        self.passes, self.steps = -(-step // (batch * processes)), -(-count // step)
        self.counted: list[int] = []
        self.weights: list[float] = []
        self._places: list[np.ndarray] = []  # in the epoch's order, of each pass
        for places in np.split(np.arange(count), range(step, count, step)):
            share = np.array_split(places, processes)[process]
            for part in np.array_split(share, -(-len(places) // (batch * processes))):
                self.counted.append(len(part))
                self.weights.append(len(part) / len(places))
                self._places.append(part if len(part) else places[:1])

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(self.count)
        return iter([[(self.epoch, int(number)) for number in order[places]] for places in self._places])


def pass_of_epoch(engine: Engine) -> int:
    """Which pass of its epoch a trainer is at, from 0."""
    return (engine.state.iteration - 1) % engine.state.epoch_length


def ends_step(engine: Engine, event: int = 0) -> bool:
    """Whether the optimizer steps after this pass; an ignite event filter. event: how often it came, not used."""
    done = pass_of_epoch(engine) + 1
    return done % engine.accumulation_steps == 0 or done == engine.state.epoch_length
