"""What is done when memory does not suffice for a training: fewer pictures at a time, as many in a step."""

import gc
import logging
from collections.abc import Callable
from typing import TypeVar

import ignite.distributed as idist
import torch
from torch import nn

from textseg.engine.recipe import Recipe
from textseg.errors import OutOfMemory

# How torch words it on a GPU, inside its libraries, on a CPU.
SAID = ("out of memory", "_ALLOC_FAILED", "can't allocate memory", "not enough memory")
Outcome = TypeVar("Outcome")
logger = logging.getLogger(__name__)


def fitting_memory(attempt: Callable[[int], Outcome], network: nn.Module, recipe: Recipe) -> Outcome:
    """What an attempt with so many pictures at a time gives; half of them again when memory did not suffice.

    attempt: trains the network in place, and goes on from its last checkpoint where there is one. Before each further
    attempt the network gets back the weights that it had. Raises OutOfMemory when one picture is too much, or where
    several processes would have to agree.
    """
    frozen = {name for name, weight in network.named_parameters() if not weight.requires_grad}
    start = {name: value.cpu().clone() for name, value in network.state_dict().items() if name not in frozen}
    batch = -(-recipe.batch // idist.get_world_size())
    while True:
        try:
            return attempt(batch)
        except (RuntimeError, MemoryError) as error:
            if not lacks_memory(error):
                raise
            batch = _half(batch, recipe)
        network.zero_grad(set_to_none=True)
        network.load_state_dict(start, strict=False)
        gc.collect()
        torch.cuda.empty_cache()


def lacks_memory(error: BaseException) -> bool:
    """Whether this error means that memory, of the GPU or of the machine, did not suffice."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(said in str(error) for said in SAID)


def _half(batch: int, recipe: Recipe) -> int:
    if batch == 1:
        raise OutOfMemory(
            "Out of memory with one picture at a time. Train a compact model, with --workers 0, end what else uses the "
            "memory, or take a machine or GPU that has more."
        )
    if idist.get_world_size() > 1:
        raise OutOfMemory(
            f"Out of memory with {batch} pictures at a time in each of {idist.get_world_size()} processes. Call it "
            f"again with a smaller --batch than {recipe.batch} and a larger --accumulate than {recipe.accumulate}; "
            "where their product stays the same, it goes on from the last checkpoint."
        )
    half = -(-batch // 2)
    logger.warning(
        "out of memory with %d pictures at a time: on from the last checkpoint with %d, in steps as large as before",
        batch,
        half,
    )
    return half
