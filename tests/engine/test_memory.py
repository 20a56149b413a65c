"""A training for which memory does not suffice goes on with fewer pictures at a time."""

import logging
from dataclasses import replace

import ignite.distributed as idist
import pytest
import torch
from tiny_training import RECIPE, Tiny, gradients, newest_checkpoint, pictures, run, tiny

from textseg.engine.memory import fitting_memory, lacks_memory
from textseg.errors import OutOfMemory

TWO = replace(RECIPE, epochs=2)


class Shrinking(Tiny):
    """From its second pass on there is memory for two pictures alone."""

    def forward(self, *inputs):
        if self.training and self.passes:
            self.most = 2
        return super().forward(*inputs)


def test_half_as_many_at_a_time_make_the_same_step(tmp_path, caplog):
    whole, halved = tiny(), tiny(most=2)
    samples = pictures(4)
    run(whole, RECIPE, samples, tmp_path / "whole")
    with caplog.at_level(logging.WARNING, logger="textseg.engine.memory"):
        run(halved, RECIPE, samples, tmp_path / "halved")
    assert (whole.passes, halved.passes) == ([4], [2, 2])
    assert "out of memory with 4 pictures at a time: on from the last checkpoint with 2" in caplog.text
    for one, other in zip(gradients(tmp_path / "whole"), gradients(tmp_path / "halved"), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [4, 8, 6], ids=["in the second epoch", "in the second step", "in a smaller step"])
def test_it_goes_on_from_the_last_checkpoint_or_from_the_start(tmp_path, count):
    whole, shrinking = tiny(), Shrinking()
    shrinking.load_state_dict(whole.state_dict())
    epochs = []
    run(whole, TWO, pictures(count), tmp_path / "whole")
    run(shrinking, TWO, pictures(count), tmp_path / "broken", after_epoch=lambda done: epochs.append(done.epoch))
    assert epochs == [1, 2]
    first, second = (newest_checkpoint(tmp_path / name) for name in ("whole", "broken"))
    assert first["schedule"]["last_epoch"] == second["schedule"]["last_epoch"]
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(shrinking.state_dict()[name], weight, atol=1e-5, rtol=0)


def test_one_picture_that_is_too_much_ends_the_training(tmp_path):
    with pytest.raises(OutOfMemory, match=r"one picture at a time\. Train a compact model"):
        run(tiny(most=0), RECIPE, pictures(4), tmp_path)


def test_several_processes_are_told_how_to_go_on(monkeypatch):
    monkeypatch.setattr(idist, "get_world_size", lambda: 2)
    with pytest.raises(OutOfMemory, match=r"2 pictures at a time in each of 2 processes.*smaller --batch than 4"):
        fitting_memory(lambda batch: tiny(most=1)(torch.zeros(batch, 3, 8, 8), torch.zeros(batch, 8)), tiny(), RECIPE)


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_what_means_that_memory_did_not_suffice(error, lacking):
    assert lacks_memory(error) is lacking


def test_another_failure_is_not_tried_again(tmp_path):
    network = tiny()
    network.words = torch.nn.Linear(7, 4)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        run(network, RECIPE, pictures(4), tmp_path)
