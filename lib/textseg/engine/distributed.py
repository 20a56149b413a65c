"""A training shared by several processes that torchrun starts, each with a GPU of its own, by ignite.distributed.

Every process passes its share of a step's pictures, gradients are summed once a step, and all make the same step. What
an objective compares within a batch (`networks` say which do) is compared within the share of one process.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ignite.distributed as idist
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from textseg.errors import OptionError


@contextmanager
def processes(device: str | None = None) -> Iterator[str]:
    """Be one of the processes that torchrun has started, inside the `with`; gives the device of this one.

    device: as asked for; when None, a GPU where there is one. Without torchrun the process is alone. Raises
    OptionError where several processes are to share one GPU.
    """
    device = _own_device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if "LOCAL_RANK" not in os.environ:
        yield device
        return
    idist.initialize("nccl" if device.startswith("cuda") else "gloo")
    if not is_first():
        logging.getLogger().setLevel(logging.ERROR)  # the first one speaks for all
    try:
        yield device
    finally:
        idist.finalize()


def is_first() -> bool:
    """Whether this process is the one that writes files and speaks."""
    return idist.get_rank() == 0


def sum_over_processes(network: nn.Module) -> None:
    """Sum the gradients of all processes, and average the running statistics of batch norms.

    A weight without a gradient in all processes stays without one. Not by DistributedDataParallel, which needs to know
    beforehand which weights get a gradient: with RecLMIS's objective that hangs on the step and on the recipe.
    """
    if idist.get_world_size() == 1:
        return
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    has_gradient = torch.tensor([float(weight.grad is not None) for weight in trained], device=trained[0].device)
    for weight in trained:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    _sum([weight.grad for weight in trained] + [has_gradient])
    for weight, processes_with in zip(trained, has_gradient.tolist(), strict=True):
        if not processes_with:
            weight.grad = None
    _average_statistics(network)


def _average_statistics(network: nn.Module) -> None:
    norms = [part for part in network.modules() if isinstance(part, _BatchNorm) and part.training]
    statistics = [tensor for norm in norms for tensor in (norm.running_mean, norm.running_var) if tensor is not None]
    if statistics:
        _sum(statistics)
        torch._foreach_div_(statistics, idist.get_world_size())


def _sum(tensors: list[Tensor]) -> None:
    """Over all processes, in place, in one message."""
    total = idist.all_reduce(torch.cat([tensor.flatten() for tensor in tensors]))
    for tensor, summed in zip(tensors, total.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(summed.view_as(tensor))


def _own_device(device: str) -> str:
    if device == "cuda":
        return f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
    if device.startswith("cuda") and int(os.environ.get("LOCAL_WORLD_SIZE", 1)) > 1:
        raise OptionError(f"Several processes cannot share {device}. Say --device cuda: each takes a GPU of its own.")
    return device
