"""The objective of RecLMIS: its losses worked out a second time, and what it does with what is no number."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from textseg.networks.reclmis_objective import (
    RecLMISLoss,
    RecLMISOutput,
    contrastive_loss,
    patch_loss,
    segmentation_loss,
    word_loss,
)


def output(batch: int = 3, patches: int = 6, length: int = 5, width: int = 8, **changed: Tensor) -> RecLMISOutput:
    """Random vectors, every word present."""
    random = torch.Generator().manual_seed(11)
    tokens = {
        name: torch.randn(batch, length, width, generator=random) for name in ("target", "rebuilt_words", "words")
    }
    of_picture = {
        name: torch.randn(batch, patches, width, generator=random) for name in ("patches", "rebuilt_patches", "raw")
    }
    everything = torch.ones(batch, length, dtype=torch.bool)
    scores = {
        "patch_scores": torch.rand(batch, patches, generator=random).softmax(1),
        "word_scores": torch.rand(batch, length, generator=random).softmax(1),
    }
    given = {"logits": torch.zeros(batch, 1, 4, 4), "present": everything, "counted": everything}
    given["tokens"] = torch.arange(batch * length).reshape(batch, length)
    return RecLMISOutput(**{**given, **tokens, **of_picture, **scores, **changed})


@pytest.mark.parametrize("batch", [2, 3, 8])
def test_prompts_that_all_fit_all_pictures_alike_cost_the_logarithm_of_their_number(batch):
    same = output(batch, words=torch.ones(batch, 5, 8), raw=torch.ones(batch, 6, 8))
    assert contrastive_loss(same).item() == pytest.approx(math.log(batch), abs=1e-5)


def test_contrast_knows_no_lengths():
    plain = output()
    longer = output(words=7 * plain.words, raw=0.2 * plain.raw)
    assert contrastive_loss(longer).item() == pytest.approx(contrastive_loss(plain).item(), rel=1e-4)


def test_contrast_is_the_sum_that_the_equations_say():
    given = output()
    close = F.cosine_similarity(given.words[:, None, :, None], given.raw[None, :, None, :], dim=-1)
    alike = torch.zeros(3, 3)
    for b in range(3):
        for d in range(3):
            by_word = sum(given.word_scores[b].softmax(0)[t] * close[b, d, t].max() for t in range(5))
            by_patch = sum(given.patch_scores[d].softmax(0)[v] * close[b, d, :, v].max() for v in range(6))
            alike[b, d] = 100 * (by_word + by_patch) / 2
    rows, columns = alike.log_softmax(1).diagonal().mean(), alike.log_softmax(0).diagonal().mean()
    assert contrastive_loss(given).item() == pytest.approx(-(rows + columns).item() / 2, rel=1e-4)


def test_a_padded_word_has_likeness_zero_where_padding_takes_part_and_none_where_not():
    present = torch.tensor([[True, True, True, False, False]] * 3)
    plain = output(present=present, counted=present)
    moved = output(present=present, counted=present, words=torch.where(present[..., None], plain.words, 9.0))
    assert contrastive_loss(moved).item() == pytest.approx(contrastive_loss(plain).item(), abs=1e-6)
    away = -plain.raw[:, :1].expand(-1, 5, -1) - 0.1  # likenesses below zero: a padded word is the nearest then
    with_padding = output(present=present, words=away)
    assert (
        abs(contrastive_loss(with_padding) - contrastive_loss(output(present=present, counted=present, words=away)))
        > 1e-3
    )


def test_pictures_of_an_equal_prompt_are_no_wrong_answers_where_equal_prompts_are_merged():
    given = output(3)
    twice = output(3, tokens=given.tokens[[0, 0, 1]])
    assert contrastive_loss(twice).item() == contrastive_loss(given).item() == contrastive_loss(given, True).item()
    logits = torch.stack([torch.stack([_likeness_of(twice, b, d) for d in range(3)]) for b in range(3)])
    logits[0, 1] = logits[1, 0] = -torch.inf
    expected = sum(F.cross_entropy(table, torch.arange(3)) for table in (logits, logits.T)) / 2
    assert contrastive_loss(twice, True).item() == pytest.approx(expected.item(), rel=1e-5)


def _likeness_of(given: RecLMISOutput, prompt: int, picture: int) -> Tensor:
    close = F.cosine_similarity(given.words[prompt][:, None], given.raw[picture][None], dim=-1)
    words, patches = given.word_scores[prompt].softmax(0), given.patch_scores[picture].softmax(0)
    return (words @ close.amax(dim=1) + patches @ close.amax(dim=0)) / 2 * 100


def test_reconstructions_are_mean_squares():
    given = output()
    assert patch_loss(given).item() == pytest.approx(((given.rebuilt_patches - given.patches) ** 2).mean().item())
    assert word_loss(given).item() == pytest.approx(((given.rebuilt_words - given.target) ** 2).mean().item())


def test_words_that_do_not_count_cost_nothing():
    counted = torch.tensor([[True, True, False, False, False]] * 3)
    plain = output(counted=counted)
    other = output(counted=counted, rebuilt_words=torch.where(counted[..., None], plain.rebuilt_words, 1e6))
    assert word_loss(other).item() == pytest.approx(word_loss(plain).item())


def test_dice_of_hard_masks():
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., :5, :4] = 1
    right, wrong = (mask - 0.5) * 200, (mask.flip(-1) - 0.5) * 200
    assert segmentation_loss(right, mask).item() == pytest.approx(0, abs=1e-6)
    cross = F.binary_cross_entropy_with_logits(wrong, mask)
    dice = 2 * segmentation_loss(wrong, mask) - cross
    assert dice.item() == pytest.approx(1 - 4e-5 / (40 + 4e-5), abs=1e-6)


def test_an_undecided_network_costs_half_of_ln_two_and_half_of_dice():
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :4] = 1
    dice = 1 - (2 * 16 + 4e-5) / (16 + 32 + 4e-5)
    expected = 0.5 * math.log(2) + 0.5 * dice
    assert segmentation_loss(torch.zeros_like(mask), mask).item() == pytest.approx(expected, abs=1e-5)


def test_the_whole_is_weighted_as_printed():
    given, mask = output(), torch.ones(3, 1, 4, 4)
    terms = [word_loss(given), patch_loss(given), contrastive_loss(given), segmentation_loss(given.logits, mask)]
    expected = sum(weight * term.item() for weight, term in zip((1, 1, 0.2, 5), terms, strict=True))
    assert RecLMISLoss()(given, mask).item() == pytest.approx(expected, rel=1e-5)


def with_gradients(**changed: Tensor) -> RecLMISOutput:
    """Random vectors and scores that all ask for gradients."""
    given = output(**changed)
    tensors = {name: value for name, value in vars(given).items() if value.is_floating_point()}
    return replace(given, **{name: value.clone().requires_grad_() for name, value in tensors.items()})


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize(
    ("broken", "of", "loss"),
    [("rebuilt_patches", "patches", "patch_loss"), ("rebuilt_words", "target", "word_loss")],
)
def test_a_reconstruction_that_is_no_number_counts_as_nothing_and_is_told(caplog, broken, of, loss, value):
    plain, mask = with_gradients(), torch.ones(3, 1, 4, 4)
    spoilt = with_gradients(**{broken: torch.full_like(getattr(plain, broken), value)})
    found = RecLMISLoss()(spoilt, mask)
    expected = RecLMISLoss(**{{"patch_loss": "patches", "word_loss": "words"}[loss]: 0.0})(plain, mask)
    for total in (found, expected):
        total.backward()
    assert found.item() == pytest.approx(expected.item())
    assert getattr(spoilt, broken).grad is None and getattr(spoilt, of).grad is None
    reached = {name for name, value in vars(plain).items() if value.grad is not None}
    assert len(reached) == 7
    for name in reached:
        assert torch.equal(getattr(spoilt, name).grad, getattr(plain, name).grad), name
    assert [record.levelname for record in caplog.records] == ["WARNING"] and loss in caplog.text


def test_reconstructions_that_are_numbers_are_no_news(caplog):
    RecLMISLoss()(output(), torch.ones(3, 1, 4, 4))
    assert not caplog.records


@pytest.mark.parametrize("broken", ["words", "logits"])
def test_anything_else_that_is_no_number_is_not_hidden(broken):
    spoilt = output(**{broken: getattr(output(), broken) * torch.nan})
    assert RecLMISLoss()(spoilt, torch.ones(3, 1, 4, 4)).isnan()


def test_contrast_is_as_exact_in_mixed_precision():
    given = output(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = contrastive_loss(given).item()
    assert mixed == pytest.approx(contrastive_loss(given).item(), rel=1e-5)
