"""What the tests of networks share: one thread, and one random picture."""

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True, scope="module")
def on_one_thread(one_thread: None) -> None:
    """For every test of networks."""


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
