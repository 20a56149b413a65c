"""C2FVL in training: where the gradients go, what dropout does, the first values, and how its maps come together."""

import pytest
import torch
from torch import Tensor

from textseg.engine.samples import batch_of, draw_samples
from textseg.engine.texts import TextReader
from textseg.networks.c2fvl import C2FVL
from textseg.networks.c2fvl_objective import C2FVLLoss, C2FVLOutput, alignment_loss


def small_network(dropout: float = 0.1) -> C2FVL:
    """A fresh small network in training mode."""
    torch.manual_seed(2)
    return C2FVL(width=8, dropout=dropout)


@pytest.fixture(scope="module")
def images(image) -> Tensor:
    return torch.cat([image, image.flip(-1)])


def test_the_first_auxiliary_map_shares_the_segmentation_head(images):
    network = small_network()
    network(images, torch.ones(2, 8)).auxiliary[0].square().sum().backward()
    assert network.head.weight.grad.abs().max() > 0
    assert all(head.weight.grad is None for head in network.auxiliary)


def test_the_segmentation_does_not_reach_the_auxiliary_heads(images):
    network = small_network()
    network(images, torch.ones(2, 8)).logits.sum().backward()
    assert network.head.weight.grad.abs().max() > 0
    assert all(weight.grad is None for weight in network.auxiliary.parameters())


@pytest.mark.parametrize(("dropout", "same"), [(0.1, False), (0.0, True)])
def test_only_dropout_makes_training_runs_differ(images, dropout, same):
    network = small_network(dropout)
    with torch.no_grad():
        first, second = (network(images, torch.ones(2, 8)) for _ in range(2))
    assert isinstance(first, C2FVLOutput)
    assert torch.equal(first.logits, second.logits) is same


def test_training_draws_the_maps_of_the_levels_together():
    network, loss = small_network(), C2FVLLoss()
    batch = batch_of(TextReader.of(network), draw_samples(2, seed=0, size=224))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    history = []
    for _ in range(12):
        output = network(batch["image"], batch["text"])
        total = loss(output, batch["mask"])
        history.append((total.item(), alignment_loss(output.auxiliary).item()))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert history[-1][0] < 0.6 * history[0][0]
    assert history[-1][1] < 0.4 * history[0][1]


def test_initial_values():
    torch.manual_seed(0)
    for level in C2FVL(width=8).levels:
        assert level.positions.table.abs().max() == 0
        for linear in (level.block.hidden, level.block.output):
            bound = (6 / sum(linear.weight.shape)) ** 0.5
            assert 0.95 * bound < linear.weight.abs().max() <= bound
            assert 0 < linear.bias.abs().max() < 1e-5
