"""What the tests of networks share: one thread, and one random picture."""

import pytest
import torch
from torch import Tensor


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
