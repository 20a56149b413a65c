"""The objective of C2FVL: the values of the paper's equations, and no surprises at the edges."""

import pytest
import torch
from torch import Tensor

from textseg.engine.losses import C2FVLLoss, alignment_loss, balanced_cross_entropy, loss_for, soft_dice_loss
from textseg.engine.recipe import RECIPES
from textseg.networks.c2fvl import C2FVLOutput
from textseg.registry import MODELS


@pytest.fixture
def half() -> Tensor:
    """A mask whose left half is foreground."""
    mask = torch.zeros(2, 1, 16, 16)
    mask[..., :8] = 1
    return mask


@pytest.fixture
def maps() -> Tensor:
    return torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def test_an_undecided_network_on_half_a_mask(half):
    logits = torch.zeros_like(half)
    assert soft_dice_loss(torch.sigmoid(logits), half).item() == pytest.approx(1 / 3, abs=1e-4)
    assert balanced_cross_entropy(logits, half).item() == pytest.approx(0.6931, abs=1e-4)


@pytest.mark.parametrize(("sign", "value"), [(1, 0), (-1, 3)])
def test_maps_that_agree_cost_nothing_and_opposite_ones_three(maps, sign, value):
    others = [sign * scale * maps for scale in (1, 2, 0.5)]
    output = C2FVLOutput(maps, (maps, *others))
    assert C2FVLLoss(dice=0, cross_entropy=0)(output, torch.ones_like(maps)).item() == pytest.approx(value, abs=1e-5)


def test_each_image_is_aligned_by_itself(maps):
    half_turned = maps * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)
    assert alignment_loss((maps, half_turned, half_turned, half_turned)).item() == pytest.approx(3, abs=1e-5)
    assert alignment_loss((maps, half_turned, maps, maps)).item() == pytest.approx(1, abs=1e-5)


def test_gradients_flow_through_both_maps_of_a_pair(maps):
    first, other = maps.clone().requires_grad_(), maps.flip(-1).clone().requires_grad_()
    alignment_loss((first, other)).backward()
    assert first.grad.abs().max() > 0 and other.grad.abs().max() > 0


def test_dice_is_a_mean_over_images_and_not_over_pixels():
    mask = torch.zeros(2, 1, 10, 10)
    mask[0], mask[1, 0, 0, 0] = 1, 1
    probability = mask.clone()
    probability[1] = 0  # the small image is missed altogether
    assert soft_dice_loss(probability, mask).item() == pytest.approx(0.5, abs=1e-3)


def test_dice_of_two_empty_masks_is_perfect():
    empty = torch.zeros(1, 1, 8, 8)
    assert soft_dice_loss(empty, empty).item() == pytest.approx(0)


def test_cross_entropy_gives_both_classes_the_same_weight():
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., 0, 0] = 1
    miss, alarm = torch.full_like(mask, -4), torch.full_like(mask, 4)
    assert balanced_cross_entropy(miss, mask).item() == pytest.approx(balanced_cross_entropy(alarm, mask).item())


def test_cross_entropy_counts_the_classes_over_the_whole_batch():
    mask = torch.zeros(2, 1, 1, 4)
    mask[0] = 1
    logits = torch.zeros_like(mask)
    assert balanced_cross_entropy(logits, mask).item() == pytest.approx(0.6931, abs=1e-4)
    assert balanced_cross_entropy(logits[:1], mask[:1]).item() == pytest.approx(0.3466, abs=1e-4)  # no background


@pytest.mark.parametrize("size", [30.0, 1e3, 1e8])
@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_extreme_logits_keep_loss_and_gradients_finite(maps, size, fill):
    logits = (size * maps.sign()).requires_grad_()
    auxiliary = tuple(size * maps * k for k in (1, -1, 0, 1))
    loss = C2FVLLoss()(C2FVLOutput(logits, auxiliary), torch.full_like(maps, fill))
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()
    assert loss.item() <= 28.5  # a quarter of the clamped 100, half of Dice, half of three cosine terms of 2


def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much(half):
    right, aligned = (half - 0.5) * 60, (half - 0.5,) * 4
    assert C2FVLLoss()(C2FVLOutput(right, aligned), half).item() == pytest.approx(0, abs=1e-4)
    assert C2FVLLoss()(C2FVLOutput(-right, aligned), half).item() > 10


def test_equation_nine_weights_every_term_by_half(half, maps):
    output = C2FVLOutput(maps, (maps, maps.flip(-1), maps.flip(-2), -maps))
    terms = [
        soft_dice_loss(torch.sigmoid(maps), half),
        balanced_cross_entropy(maps, half),
        alignment_loss(output.auxiliary),
    ]
    assert C2FVLLoss()(output, half).item() == pytest.approx(0.5 * sum(terms).item(), rel=1e-5)
    assert C2FVLLoss(0, 0, 2.0)(output, half).item() == pytest.approx(2 * terms[2].item(), rel=1e-5)


@pytest.mark.parametrize("spec", MODELS.values(), ids=lambda spec: spec.name)
def test_every_model_has_an_objective_that_takes_its_recipes_weights(spec, half, maps):
    loss = loss_for(spec, RECIPES[spec.recipe].loss)
    assert loss(C2FVLOutput(maps, (maps,) * 4), half).item() > 0
