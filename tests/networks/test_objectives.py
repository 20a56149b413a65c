"""The objectives: what all of them have in common, and the values of the equations of C2FVL's paper."""

import dataclasses
from typing import get_type_hints

import pytest
import torch
from torch import Tensor, nn

from textseg.engine.build import objective_of
from textseg.engine.recipe import recipe_of
from textseg.networks.c2fvl_objective import (
    C2FVLLoss,
    C2FVLOutput,
    alignment_loss,
    balanced_cross_entropy,
    soft_dice_loss,
)
from textseg.networks.reclmis_objective import RecLMISOutput
from textseg.registry import MODELS

OBJECTIVES = [
    pytest.param(spec, name, id=f"{spec.name}-{name}")  # every recipe weights the terms of its network's objective
    for spec in MODELS.values()
    for name in spec.recipes
]


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


def test_equation_nine_weights_every_term_by_half(half, maps):
    output = C2FVLOutput(maps, (maps, maps.flip(-1), maps.flip(-2), -maps))
    terms = [
        soft_dice_loss(torch.sigmoid(maps), half),
        balanced_cross_entropy(maps, half),
        alignment_loss(output.auxiliary),
    ]
    assert C2FVLLoss()(output, half).item() == pytest.approx(0.5 * sum(terms).item(), rel=1e-5)
    assert C2FVLLoss(0, 0, 2.0)(output, half).item() == pytest.approx(2 * terms[2].item(), rel=1e-5)


def output_of(objective: nn.Module, maps: Tensor) -> object:
    """What the network of an objective would give, with `maps` as its logits and as every other map.

    Reconstructions are perfect, and a prompt is like its own picture alone.
    """
    kind = next(iter(get_type_hints(objective.forward).values()))
    if kind is RecLMISOutput:
        own, present = torch.eye(len(maps))[:, None].expand(-1, 3, -1), torch.ones(len(maps), 3, dtype=torch.bool)
        even = torch.full((len(maps), 3), 1 / 3)
        tokens = torch.arange(len(maps))[:, None].expand(-1, 3)
        return RecLMISOutput(maps, own, own, own, own, own, own, even, even, present, tokens, present)
    return kind(*(maps if field.type is Tensor else (maps,) * 4 for field in dataclasses.fields(kind)))


@pytest.mark.parametrize(("spec", "recipe"), OBJECTIVES)
class TestEveryObjective:
    """With the weights of every recipe of the registry."""

    @pytest.fixture
    def objective(self, spec, recipe) -> nn.Module:
        return objective_of(spec, recipe_of(spec, recipe).loss)

    def test_a_perfect_answer_costs_nothing_and_a_wrong_one_much(self, objective, half):
        right = (half - 0.5) * 60
        assert objective(output_of(objective, right), half).item() == pytest.approx(0, abs=1e-4)
        assert objective(output_of(objective, -right), half).item() > 5

    def test_a_step_against_the_gradient_costs_less(self, objective, half, maps):
        logits = maps.clone().requires_grad_()
        before = objective(output_of(objective, logits), half)
        before.backward()
        assert objective(output_of(objective, maps - 0.1 * logits.grad / logits.grad.abs().max()), half) < before

    def test_a_network_sure_of_an_empty_mask_is_right(self, objective, half):
        empty = torch.zeros_like(half)
        assert objective(output_of(objective, torch.full_like(half, -60)), empty).item() == pytest.approx(0, abs=1e-4)

    @pytest.mark.parametrize("size", [30.0, 1e3, 1e8])
    @pytest.mark.parametrize("fill", [0.0, 1.0])
    def test_extreme_logits_keep_loss_and_gradients_finite(self, objective, maps, size, fill):
        logits = (size * maps.sign()).requires_grad_()
        loss = objective(output_of(objective, logits), torch.full_like(maps, fill))
        loss.backward()
        assert loss.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize("size", [1e3, 1e8])
def test_no_pixel_costs_c2fvl_more_than_a_hundred(maps, size):
    auxiliary = tuple(size * maps * k for k in (1, -1, 0, 1))
    loss = C2FVLLoss()(C2FVLOutput(torch.full_like(maps, -size), auxiliary), torch.ones_like(maps))
    assert loss.item() == pytest.approx(0.5 * 1 + 0.5 * 0.5 * 100 + 0.5 * (2 + 1 + 0))  # no background: half of CE
