"""RecLMIS alone: published sizes, attention, masking and losses worked out a second time, padding, obedience of V'."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textseg.networks.reclmis import RecLMIS, UpBlock
from textseg.networks.reclmis_attention import Attention, GatedAttention
from textseg.networks.reclmis_objective import (
    RecLMISLoss,
    RecLMISOutput,
    contrastive_loss,
    patch_loss,
    segmentation_loss,
    word_loss,
)
from textseg.networks.reclmis_training import Scores, drawn, without
from textseg.registry import model_spec
from textseg.text.encoder import FrozenEncoder
from textseg.text.tokens import KNOWN_WORDS, WordTokens

WIDTH, LENGTH = 4, 12  # of small networks: words of width 32
UPPER_LEFT, LOWER_RIGHT = "upper left lung", "bilateral pulmonary infection , lower right lung"
SWITCHES = [
    pytest.param({}, id="ours"),
    pytest.param({"kv_from": "text"}, id="patches read the words themselves"),
    pytest.param({"mask_padding": False}, id="padding takes part"),
]


class Vectors(FrozenEncoder):
    """A random vector for every word number, of as many tokens as a test asks for."""

    def __init__(self, length: int = LENGTH) -> None:
        tokenizer = WordTokens(KNOWN_WORDS, length)
        super().__init__(tokenizer, tokenizer.words, 8 * WIDTH, length)
        table = torch.randn(len(KNOWN_WORDS), 8 * WIDTH, generator=torch.Generator().manual_seed(5))
        self.words = nn.Embedding.from_pretrained(table)

    def encode(self, tokens: Tensor) -> Tensor:
        return self.words(tokens)


def small_network(length: int = LENGTH, **switches: object) -> RecLMIS:
    """Narrow, in evaluation mode, with large positions and query and key weights, so that words matter (section 15)."""
    torch.manual_seed(1)
    network = RecLMIS(Vectors(length), width=WIDTH, layers=1, **switches).eval()
    with torch.no_grad():
        network.interaction.positions.table.normal_()
        for attention in (network.interaction.vision_to_text, network.interaction.text_to_vision):
            attention.query.weight.normal_()
            attention.key.weight.normal_()
    return network


def tokens(network: RecLMIS, *sentences: str) -> Tensor:
    return torch.tensor([network.text_encoder.tokenizer(sentence) for sentence in sentences])


def bottleneck(network: RecLMIS, image: Tensor, sentence: str) -> Tensor:
    """V' (1 x 196 x C)."""
    prompt = network.encode_prompt(tokens(network, sentence))
    visible = prompt.present if network.mask_padding else None
    return network.interaction(network.encode_image(image)[-1], prompt.words, visible)[0]


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


def count(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


# -- Sizes (section 12) --


@pytest.fixture(scope="module")
def published() -> RecLMIS:
    """The published network without memory behind it: sizes only."""
    with torch.device("meta"):
        spec = model_spec("reclmis")
        return RecLMIS(Vectors512(), **spec.settings)


class Vectors512(FrozenEncoder):
    """Of the width and length of CLIP's tower, without its weights."""

    def __init__(self) -> None:
        super().__init__(WordTokens(KNOWN_WORDS, 18), KNOWN_WORDS, 512, 18)


def test_every_block_has_the_published_number_of_weights(published):
    interaction, training = published.interaction, published.reconstruction
    assert count(published.encoder.stem) == 1_920
    assert [count(down) for down in published.encoder.downs] == [221_952, 886_272, 3_542_016, 4_721_664]
    assert [count(up) for up in published.decoder] == [3_474_975, 869_151, 217_503, 119_199]
    assert (count(published.head), count(published.text_conv)) == (65, 786_944)
    assert (count(interaction.embed), count(interaction.positions)) == (262_656, 100_352)
    assert count(interaction.vision_to_text) == count(interaction.text_to_vision) == 1_050_624
    assert count(interaction.text_head) + count(interaction.text_norm) == 787_968
    assert count(training.patch_scores) == count(training.word_scores) == 263_169
    assert count(training.to_patches) == count(training.to_words) == 21_028_864


@pytest.mark.parametrize(("layers", "one", "whole"), [(3, 15_771_648, 50_163_519), (4, 21_028_864, 60_677_951)])
def test_the_whole_by_layers_of_the_reconstructors(layers, one, whole):
    with torch.device("meta"):
        network = RecLMIS(Vectors512(), layers=layers)
    assert count(network.reconstruction.to_words) == one
    assert count(network) == whole
    mask_path = whole - count(network.reconstruction)
    heads = count(network.interaction.text_head) + count(network.interaction.text_norm)
    assert (mask_path - heads, mask_path) == (17_305_917, 18_093_885)


# -- The mask's path --


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_mask_needs_nothing_of_the_training_half(image, switches):
    network = small_network(**switches)
    text = tokens(network, UPPER_LEFT)
    with torch.no_grad():
        whole = network(image, text)
        network.reconstruction = None
        assert torch.equal(network(image, text), whole)


@pytest.mark.parametrize("switches", SWITCHES)
def test_other_words_give_another_bottleneck(image, switches):
    network = small_network(**switches)
    with torch.no_grad():
        one, other = (bottleneck(network, image, sentence) for sentence in (UPPER_LEFT, LOWER_RIGHT))
    assert apart(one, other) > 0.05


@pytest.mark.parametrize("kv_from", ["fused", "text"])
def test_the_number_of_padded_words_matters_only_where_padding_takes_part(image, kv_from):
    with torch.no_grad():
        short, long = (
            bottleneck(small_network(length, kv_from=kv_from), image, UPPER_LEFT) for length in (LENGTH, 2 * LENGTH)
        )
        padded = [
            bottleneck(small_network(n, kv_from=kv_from, mask_padding=False), image, UPPER_LEFT)
            for n in (LENGTH, 2 * LENGTH)
        ]
    assert apart(short, long) < 1e-5 and apart(*padded) > 1e-3


def test_an_up_block_is_the_convolution_of_gated_skip_and_coarser_map():
    torch.manual_seed(2)
    block = UpBlock(6, 4, 5).eval()
    skip, deep = torch.randn(2, 6, 8, 8), torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        joined = torch.cat([block.gate(skip), F.interpolate(deep, scale_factor=2, mode="nearest")], dim=1)
        assert apart(block(block.skip_half(skip), deep), block.second(block.first(joined))) < 1e-5


def test_a_gate_is_one_signed_number_per_pixel():
    torch.manual_seed(4)
    gate, skip = UpBlock(6, 4, 5).gate, torch.randn(1, 6, 16, 16)
    number = gate(skip) / skip
    assert apart(number, number[:, :1].expand_as(number)) < 1e-3
    mean = F.relu(F.conv2d(skip, gate.mean.weight)).mean(1)
    peak = F.relu(F.conv2d(skip, gate.peak.weight)).max(1).values
    hidden = F.relu(F.conv2d(torch.stack([mean, peak, mean + peak], 1), gate.hidden.weight, gate.hidden.bias))
    assert apart(number[:, :1], F.conv2d(hidden, gate.out.weight, gate.out.bias)) < 1e-3


@pytest.mark.parametrize("size", [(256, 256), (224, 192)])
def test_another_picture_size_is_refused_with_the_one_to_use(size):
    with pytest.raises(ValueError, match="resize to 224x224"):
        small_network().encode_image(torch.rand(1, 3, *size))


def test_another_text_length_or_width_is_refused():
    network = small_network()
    with pytest.raises(ValueError, match="takes 12 tokens, not 18"):
        network.encode_prompt(torch.zeros(1, 18, dtype=torch.long))
    with pytest.raises(ValueError, match="words of width 64, not 32"):
        RecLMIS(Vectors(), width=8)


# -- Attention (section 7) --


@pytest.fixture
def read() -> Tensor:
    return torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(8))


@pytest.fixture
def given() -> Tensor:
    return torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(9))


def test_attention_is_that_of_four_heads(read, given):
    attention = Attention(16).eval()
    torch_own = nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        torch_own.in_proj_weight.copy_(
            torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
        )
        torch_own.out_proj.load_state_dict(attention.out.state_dict())
        hidden = torch.tensor([[False] * 5 + [True] * 2] * 2)
        expected = torch_own(read, given, given, key_padding_mask=hidden)[0]
        assert apart(attention(read, given, ~hidden), expected) < 1e-5


def test_even_gates_change_nothing(read, given):
    attention = GatedAttention(16)
    with torch.no_grad():
        assert apart(attention(read, given, torch.full((2, 7), 1 / 7)), attention(read, given)) < 1e-5


def test_a_single_open_gate_gives_that_keys_value(read, given):
    attention = GatedAttention(16)
    gate = F.one_hot(torch.tensor([3, 6]), 7).float()
    with torch.no_grad():
        only = attention.out(attention.value(torch.stack([given[0, 3], given[1, 6]])))
        assert apart(attention(read, given, gate), only[:, None].expand(-1, 5, -1)) < 1e-4


@pytest.mark.parametrize("gated", [False, True])
def test_the_weights_of_a_query_sum_to_one(read, given, gated):
    attention = GatedAttention(16)
    gate = torch.rand(2, 7) if gated else None
    with torch.no_grad():
        attention.value.weight.zero_()
        attention.value.bias.fill_(1.0)
        expected = attention.out(torch.ones(16)).expand(2, 5, -1)
        assert apart(attention(read, given, gate), expected) < 1e-5


def test_a_causal_query_reads_no_later_key(read):
    attention = GatedAttention(16)
    later = read.clone()
    later[:, 3:] += 1
    with torch.no_grad():
        before, after = attention(read, read, causal=True), attention(later, later, causal=True)
    assert torch.allclose(before[:, :3], after[:, :3], atol=1e-6) and not torch.allclose(before[:, 3:], after[:, 3:])


# -- Masking (section 7) --


@pytest.mark.parametrize(
    ("length", "share", "expected"),
    [(196, 0.5, 98), (196, 0.3, 58), (18, 0.3, 5), (15, 0.3, 4), (4, 0.3, 1), (2, 0.3, 1)],
)
def test_how_many_positions_are_hidden(length, share, expected):
    weights = torch.rand(3, length).softmax(dim=1)
    assert drawn(weights, torch.ones_like(weights, dtype=torch.bool), share).sum(dim=1).tolist() == [expected] * 3


def test_padding_is_never_drawn():
    allowed = torch.arange(18)[None] < torch.tensor([[4], [15], [18]])
    weights = torch.rand(3, 18).masked_fill(~allowed, 0.0)
    for seed in range(40):
        torch.manual_seed(seed)
        hidden = drawn(weights, allowed, 0.3)
        assert hidden.sum(dim=1).tolist() == [1, 4, 5] and not (hidden & ~allowed).any()


def test_positions_are_drawn_by_weight():
    torch.manual_seed(0)
    weights = torch.tensor([0.5, 0.3, 0.15, 0.05]).expand(20_000, 4)
    shares = drawn(weights, torch.ones_like(weights, dtype=torch.bool), 0.25).float().mean(dim=0)
    assert torch.allclose(shares, weights[0], atol=0.015)


def test_two_are_drawn_one_after_the_other():
    torch.manual_seed(0)
    weights = torch.tensor([0.6, 0.3, 0.1]).expand(20_000, 3)
    shares = drawn(weights, torch.ones_like(weights, dtype=torch.bool), 0.67).float().mean(dim=0)
    left_out = [0.3 * 0.1 / 0.7 + 0.1 * 0.3 / 0.9, 0.6 * 0.1 / 0.4 + 0.1 * 0.6 / 0.9, 0.6 * 0.3 / 0.4 + 0.3 * 0.6 / 0.7]
    assert torch.allclose(1 - shares, torch.tensor(left_out), atol=0.015)


def test_where_too_few_have_a_weight_the_rest_is_drawn_evenly():
    torch.manual_seed(0)
    weights = torch.tensor([1.0, 0, 0, 0, 0]).expand(10_000, 5)
    allowed = torch.tensor([True, True, True, True, False]).expand(10_000, 5)
    shares = drawn(weights, allowed, 0.5).float().mean(dim=0)
    assert torch.allclose(shares, torch.tensor([1, 1 / 3, 1 / 3, 1 / 3, 0]), atol=0.02)


def test_hidden_positions_are_zero_and_the_others_as_they_were(read):
    hidden = torch.tensor([[True, False, False, True, False]] * 2)
    left = without(read, hidden)
    assert not left[hidden].any() and torch.equal(left[~hidden], read[~hidden])


def test_scores_sum_to_one_over_the_words_that_are_there(read):
    present = torch.tensor([[True, True, False, False, False], [True] * 5])
    scores = Scores(16)(read, present)
    assert scores.sum(dim=1).tolist() == pytest.approx([1, 1]) and not scores[~present].any() and scores[present].all()


# -- Losses (section 8) --


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


@pytest.mark.parametrize("broken", ["rebuilt_patches", "rebuilt_words"])
def test_a_reconstruction_that_is_no_number_counts_as_nothing(broken):
    given, mask = output(), torch.ones(3, 1, 4, 4)
    logits = given.logits.clone().requires_grad_()
    spoilt = output(logits=logits, **{broken: getattr(given, broken) * torch.nan})
    without_it = {"rebuilt_patches": {"patches": 0.0}, "rebuilt_words": {"words": 0.0}}[broken]
    loss = RecLMISLoss()(spoilt, mask)
    loss.backward()
    assert loss.item() == pytest.approx(RecLMISLoss(**without_it)(given, mask).item()) and logits.grad.isfinite().all()


@pytest.mark.parametrize("detached", [False, True])
def test_the_reconstruction_moves_its_target_only_where_it_may(image, detached):
    network = small_network(rec_detach=detached).train()
    given = network(image.expand(2, -1, -1, -1), tokens(network, UPPER_LEFT, LOWER_RIGHT))
    assert given.patches.requires_grad is not detached
    assert not given.target.requires_grad
    assert given.counted.sum() < given.counted.numel() and torch.equal(given.counted, given.present)


def test_an_unknown_source_of_what_patches_read_is_refused():
    with pytest.raises(ValueError, match="kv_from"):
        RecLMIS(Vectors(), width=WIDTH, kv_from="words")


def test_contrast_is_as_exact_in_mixed_precision():
    given = output(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = contrastive_loss(given).item()
    assert mixed == pytest.approx(contrastive_loss(given).item(), rel=1e-5)
