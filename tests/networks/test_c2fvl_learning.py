"""C2FVL in training: where the gradients go, what dropout does, the first values, and that it learns."""

import pytest
import torch
from torch import Tensor

from textseg.engine.losses import C2FVLLoss, alignment_loss
from textseg.engine.metrics import Overlap, summary
from textseg.engine.samples import batch_of, draw_samples
from textseg.networks.c2fvl import C2FVL, C2FVLOutput


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


def test_every_trainable_value_learns_in_one_step(images):
    network = small_network()
    mask = (torch.rand(2, 1, 224, 224, generator=torch.Generator().manual_seed(3)) > 0.5).float()
    C2FVLLoss()(network(images, torch.ones(2, 8)), mask).backward()
    idle = [
        name
        for name, weight in network.named_parameters()
        if weight.grad is None or not weight.grad.isfinite().all() or (weight.ndim > 1 and not weight.grad.any())
    ]
    assert idle == []


@pytest.mark.parametrize(("dropout", "same"), [(0.1, False), (0.0, True)])
def test_only_dropout_makes_training_runs_differ(images, dropout, same):
    network = small_network(dropout)
    with torch.no_grad():
        first, second = (network(images, torch.ones(2, 8)) for _ in range(2))
    assert isinstance(first, C2FVLOutput)
    assert torch.equal(first.logits, second.logits) is same


def hard_dice(logits: Tensor, mask: Tensor) -> float:
    pairs = zip((logits > 0).numpy(), (mask > 0).numpy(), strict=True)
    return summary([Overlap.of(*pair) for pair in pairs])["dice_image"]


def test_four_drawn_pictures_are_learnt_by_heart():
    network, loss, batch = small_network(), C2FVLLoss(), batch_of(draw_samples(4, seed=0, size=224))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    history = []
    for _ in range(25):
        output = network(batch["image"], batch["text"])
        total = loss(output, batch["mask"])
        history.append((total.item(), alignment_loss(output.auxiliary).item(), hard_dice(output.logits, batch["mask"])))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    (loss_before, alignment_before, dice_before), (loss_after, alignment_after, dice_after) = history[0], history[-1]
    assert loss_after < 0.4 * loss_before
    assert alignment_after < 0.25 * alignment_before
    assert dice_after > max(0.65, dice_before + 0.3)


def test_initial_values():
    torch.manual_seed(0)
    for level in C2FVL(width=8).levels:
        assert level.positions.table.abs().max() == 0
        for linear in (level.block.hidden, level.block.output):
            bound = (6 / sum(linear.weight.shape)) ** 0.5
            assert 0.95 * bound < linear.weight.abs().max() <= bound
            assert 0 < linear.bias.abs().max() < 1e-5
