"""TGCAM alone: published sizes and shapes, the equations worked out a second time, padding, the objective."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from textseg.networks.tgcam import TGCAM, Block, CommonAttention, Switches, TGCAMLoss, TGCAMOutput, over_words
from textseg.registry import model_spec
from textseg.text.encoder import CXRBert, FrozenEncoder
from textseg.text.tokens import LENGTH, WordTokens

WIDTHS, TEXT_WIDTH = (8, 12, 16, 24), 10  # of small networks
TOKENS = WordTokens()
PROMPTS = torch.tensor([TOKENS("Upper left lung."), TOKENS("Bilateral pulmonary infection, all left lung.")])
SWITCHES = [
    pytest.param({}, id="published"),
    pytest.param({"mask_padding": False}, id="padding takes part"),
    pytest.param({"use_cam": False}, id="ITEM alone"),
    pytest.param({"use_item": False}, id="CAM alone"),
    pytest.param({"use_cam": False, "use_item": False}, id="no text"),
    pytest.param({"cam_residual": True, "scale_common": True}, id="residual and scaled"),
    pytest.param({"positions": True}, id="positions"),
]


class Vectors(FrozenEncoder):
    """Gives the vectors that a test has put into it, whatever the words are."""

    def __init__(self, width: int = TEXT_WIDTH) -> None:
        super().__init__(TOKENS, TOKENS.words, width)
        self.vectors = torch.randn(2, LENGTH, width)

    def encode(self, tokens: Tensor) -> Tensor:
        return self.vectors


def small_network(**switches: bool) -> TGCAM:
    """Narrow, with running statistics unlike those of a fresh one, in evaluation mode."""
    torch.manual_seed(1)
    network = TGCAM(Vectors(), "test_resnet", WIDTHS, channels=4, **switches).eval()
    for name, values in network.blocks.state_dict().items():
        if name.endswith("running_mean"):
            values.normal_(std=0.2)
        elif name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def features() -> list[Tensor]:
    """[I1..I4] of two pictures of 64 x 96 pixels."""
    random = torch.Generator().manual_seed(7)
    return [torch.randn(2, width, 16 >> level, 24 >> level, generator=random) for level, width in enumerate(WIDTHS)]


def segment(network: TGCAM, features: list[Tensor], prompts: Tensor = PROMPTS) -> Tensor:
    with torch.no_grad():
        return network.segment(features, network.encode_prompt(prompts))


def apart(found: Tensor, expected: Tensor | np.ndarray) -> float:
    """The largest difference as a share of the largest value."""
    expected = torch.as_tensor(expected)
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()


# -- Sizes and shapes (sections 2, 6, 8) --


def published(**switches: bool) -> TGCAM:
    """The published widths without memory behind them: sizes and shapes only."""
    with torch.device("meta"):
        return TGCAM(CXRBert.random(), **switches)


def size(*parts: nn.Module) -> int:
    return sum(weight.numel() for part in parts for weight in part.parameters())


def test_published_size_part_by_part():
    network = published()
    assert [size(block.cam) for block in network.blocks] == [2_381_568, 600_960, 153_024]
    assert [size(block.item) for block in network.blocks] == [887_808, 222_720, 56_064]
    assert [size(block.up) for block in network.blocks] == [5_162_496, 1_291_008, 322_944]
    assert [size(part) for part in network.head] == [332_160, 25]
    assert (size(network.encoder), size(network.text_encoder)) == (27_818_592, 108_891_648)
    assert size(network) == 148_121_017
    trained = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    assert trained == model_spec("tgcam").parameters == 39_229_369


@pytest.mark.parametrize(
    ("use_cam", "use_item", "expected"),
    [(False, False, 7_108_633), (False, True, 8_275_225), (True, False, 10_760_281), (True, True, 11_410_777)],
)
def test_size_of_the_decoder_of_each_ablation(use_cam, use_item, expected):
    network = published(use_cam=use_cam, use_item=use_item)
    assert size(network.blocks, network.head) == expected


@pytest.fixture(scope="module")
def published_shapes() -> TGCAM:
    """The published widths with random weights; the text encoder is none."""
    return TGCAM(Vectors(768)).eval()


@pytest.mark.parametrize(("height", "width"), [(224, 224), (256, 256), (320, 224)])
def test_published_shapes_level_by_level(published_shapes, height, width):
    network, hooks = published_shapes, []
    seen = {}

    def note(name: str):
        def hook(_, args, out):
            seen[name] = (tuple(args[0].shape[1:]), tuple(out.shape[1:]))

        return hook

    for number, block in enumerate(network.blocks):
        for part in ("cam", "item", "up"):
            hooks.append(getattr(block, part).register_forward_hook(note(f"{part}{number}")))
        hooks.append(block.cam.out.register_forward_hook(note(f"common{number}")))
        hooks.append(block.item.text.register_forward_hook(note(f"text{number}")))
    with torch.no_grad():
        maps = network.encode_image(torch.rand(2, 3, height, width))
        logits = network.segment(maps, network.encode_prompt(PROMPTS))
    for hook in hooks:
        hook.remove()

    grids = [(height // stride, width // stride) for stride in (32, 16, 8, 4)]
    channels = (768, 384, 192, 96)
    assert [tuple(one.shape[1:]) for one in reversed(maps)] == [(c, *g) for c, g in zip(channels, grids, strict=True)]
    levels = zip(pairwise(channels), pairwise(grids), strict=True)
    for number, ((wide, narrow), (grid, finer)) in enumerate(levels):
        pixels = grid[0] * grid[1]
        assert seen[f"cam{number}"] == seen[f"item{number}"] == ((pixels, wide), (pixels, wide))
        assert seen[f"common{number}"] == ((pixels, LENGTH), (pixels, wide))
        assert seen[f"text{number}"] == ((LENGTH, wide), (LENGTH, narrow))
        assert seen[f"up{number}"] == ((wide, *grid), (narrow, *finer))
    assert logits.shape == (2, 1, height, width)


def test_weights_stand_in_the_order_of_the_specification():
    network = published()
    assert [name for name, _ in network.named_children()] == ["encoder", "text_encoder", "blocks", "head"]
    linear, norm = ["weight", "bias"], ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    cam = [f"{p}.{w}" for p in ("text_key", "text_value", "pixel_key", "pixel_value", "out") for w in linear]
    item = [f"{p}.{w}" for p in ("text", "query", "out") for w in linear] + [f"norm.{w}" for w in norm]
    for block in network.blocks:
        assert [name for name, _ in block.named_children()] == ["cam", "item", "up"]
        assert list(block.cam.state_dict()) == cam
        assert list(block.item.state_dict()) == item


@pytest.mark.parametrize(("shape", "named"), [((100, 224), "128x224"), ((225, 31), "256x32")])
def test_another_picture_size_is_refused_with_the_one_to_pad_to(shape, named):
    with pytest.raises(ValueError, match=f"{shape[0]}x{shape[1]}.*{named}"):
        small_network()(torch.zeros(1, 3, *shape), PROMPTS[:1])


@pytest.mark.parametrize("length", [23, 25])
def test_another_text_length_is_refused_with_the_right_one(length):
    with pytest.raises(ValueError, match=f"24 tokens, not {length}"):
        small_network().encode_prompt(torch.zeros(1, length, dtype=torch.long))


# -- Equations 1 to 7 (sections 4 and 5), worked out word by word and pixel by pixel --


def numbers(tensor: Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def linear(part: nn.Linear, rows: np.ndarray) -> np.ndarray:
    return rows @ numbers(part.weight).T + numbers(part.bias)


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max())
    return powers / powers.sum()


def common_attention(cam: CommonAttention, pixels: np.ndarray, text: np.ndarray, used: list[int], scaled: bool):
    """Equations 1 to 4 of one picture, and the linear map. pixels: P x C, text: N x C_T, used: positions that count."""
    text_key, text_value = linear(cam.text_key, text), linear(cam.text_value, text)
    pixel_key, pixel_value = linear(cam.pixel_key, pixels), linear(cam.pixel_value, pixels)
    width = pixels.shape[1]
    common = np.zeros((len(pixels), len(text)))
    of_word = {n: softmax(pixel_key @ text_key[n] / math.sqrt(width)) @ pixel_value for n in used}  # F_V
    for p in range(len(pixels)):
        weights = softmax(np.array([text_key[n] @ pixel_key[p] for n in used]) / math.sqrt(width))
        of_pixel = sum(weight * text_value[n] for weight, n in zip(weights, used, strict=True))  # F_T
        for n in used:
            common[p, n] = of_pixel @ of_word[n] / (math.sqrt(width) if scaled else 1)
    return linear(cam.out, common)


def text_enhancement(item: nn.Module, pixels: np.ndarray, text: np.ndarray, used: list[list[int]], training: bool):
    """Equations 6 and 7. pixels: B x P x C, text: B x N x C' (that is T^{i+1}), used: per picture."""
    total = pixels.copy()
    for b, positions in enumerate(used):
        query = linear(item.query, pixels[b])
        for p in range(pixels.shape[1]):
            weights = softmax(np.array([query[p] @ text[b, n] for n in positions]))
            read = sum(weight * text[b, n] for weight, n in zip(weights, positions, strict=True))
            total[b, p] += linear(item.out, read)
    mean = total.mean((0, 1)) if training else numbers(item.norm.running_mean)
    variance = total.var((0, 1)) if training else numbers(item.norm.running_var)
    standardised = (total - mean) / np.sqrt(variance + 1e-5)
    return standardised * numbers(item.norm.weight) + numbers(item.norm.bias)


def positions_used(present: Tensor | None, batch: int, length: int) -> list[list[int]]:
    if present is None:
        return [list(range(length))] * batch
    return [row.nonzero().flatten().tolist() for row in present]


def small_block(**switches: bool) -> Block:
    torch.manual_seed(3)
    block = Block(12, 9, 8, 6, Switches(**switches))
    block.item.norm.running_mean.normal_()
    block.item.norm.running_var.uniform_(0.5, 2)
    nn.init.normal_(block.item.norm.weight)
    nn.init.normal_(block.item.norm.bias)
    return block


@pytest.fixture(scope="module")
def pixels_and_text() -> tuple[Tensor, Tensor]:
    """B x P x C and B x N x C_T of two pictures, of some size, so that no softmax is flat."""
    random = torch.Generator().manual_seed(5)
    return 2 * torch.randn(2, 20, 12, generator=random), 2 * torch.randn(2, 6, 9, generator=random)


MASKED = pytest.mark.parametrize(
    "present",
    [None, torch.tensor([[1, 1, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0]]).bool()],
    ids=["all words", "padding masked"],
)


@MASKED
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_common_attention_is_equations_one_to_four(pixels_and_text, present, residual, scaled):
    pixels, text = pixels_and_text
    block = small_block(cam_residual=residual, scale_common=scaled)
    with torch.no_grad():
        found = block.cam(pixels, block.encode(text), present)
    used = positions_used(present, 2, 6)
    expected = [common_attention(block.cam, *(numbers(t[b]) for t in (pixels, text)), used[b], scaled) for b in (0, 1)]
    assert apart(found, np.stack(expected) + (numbers(pixels) if residual else 0)) < 1e-5


@MASKED
@pytest.mark.parametrize("training", [False, True])
def test_text_enhancement_is_equations_five_to_seven(pixels_and_text, present, training):
    pixels, text = pixels_and_text
    block = small_block().train(training)
    narrow = linear(block.item.text, numbers(text))
    expected = text_enhancement(block.item, numbers(pixels), narrow, positions_used(present, 2, 6), training)
    with torch.no_grad():
        words = block.encode(text).text
        assert apart(words, narrow) < 1e-5
        assert apart(block.item(pixels, words, present), expected) < 1e-5


@MASKED
def test_both_attentions_are_averages(pixels_and_text, present):
    """Of pixels that all say 1, and of words that all say 2, every word and every pixel reads exactly these."""
    pixels, text = pixels_and_text
    block = small_block()
    for part, said in ((block.cam.pixel_value, 1.0), (block.cam.text_value, 2.0)):
        nn.init.zeros_(part.weight)
        nn.init.constant_(part.bias, said)
    common = []
    block.cam.out.register_forward_pre_hook(lambda _, args: common.append(args[0]))
    with torch.no_grad():
        block.cam(pixels, block.encode(text), present)
    counted = torch.ones(2, 20, 6) if present is None else present[:, None].expand(2, 20, 6)
    assert torch.allclose(common[0], 12 * 2.0 * counted)


@MASKED
def test_weights_over_words_sum_to_one_and_spare_the_padding(present):
    weights = over_words(3 * torch.randn(2, 20, 6), present)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 20))
    assert (weights > 0).any(1).equal(torch.ones(2, 6).bool() if present is None else present)


@MASKED
def test_a_pixel_carries_as_many_numbers_as_there_are_words(pixels_and_text, present):
    pixels, text = pixels_and_text
    block = small_block()
    with torch.no_grad():
        maps = block.cam(pixels, block.encode(text), present) - block.cam.out.bias
    ranks = torch.linalg.matrix_rank(maps.double(), rtol=1e-6).tolist()
    assert ranks == [len(used) for used in positions_used(present, 2, 6)]


def test_the_attention_is_exact_under_mixed_precision(pixels_and_text):
    pixels, text = pixels_and_text
    block = small_block()
    with torch.no_grad():
        words = block.encode(text)
        plain = block.cam(pixels, words, None)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = block.cam(pixels, words, None)
    assert mixed.dtype == torch.float32 and torch.equal(mixed, plain)


# -- The whole decoder (section 6), from the maps and the words to the logits --


def with_norm(maps: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """Convolution 3x3, batch norm, LeakyReLU 0.01."""
    maps = F.conv2d(maps, conv.conv.weight.double(), padding=1)
    statistics = (one.double() for one in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    return F.leaky_relu(F.batch_norm(maps, *statistics, eps=1e-5), 0.01)


def upsampled(up: nn.Module, maps: Tensor, skip: Tensor) -> Tensor:
    maps = F.conv_transpose2d(maps, up.transp_conv.conv.weight.double(), stride=2)
    block = up.conv_block
    maps = with_norm(torch.cat([maps, skip.double()], dim=1), block.conv1, block.norm1)
    return with_norm(maps, block.conv2, block.norm2)


def head(parts: nn.Sequential, maps: Tensor) -> Tensor:
    (weight, bias), (last_weight, last_bias) = ([w.double() for w in part.parameters()] for part in parts)
    maps = F.pixel_shuffle(F.conv2d(maps, weight, bias, padding=1), 4)
    return F.conv2d(F.avg_pool2d(F.pad(maps, (3, 0, 3, 0)), 4, stride=1), last_weight, last_bias)


def positions(part: nn.Module, height: int, width: int) -> np.ndarray:
    """P x C: four sines and four cosines of the row, the same of the column, and a linear map without bias."""
    waves = np.pi * 2.0 ** np.arange(4)
    codes = [
        [wave(place * waves) for place in ((row + 0.5) / height, (column + 0.5) / width) for wave in (np.sin, np.cos)]
        for row in range(height)
        for column in range(width)
    ]
    return np.array(codes).reshape(height * width, 16) @ numbers(part.out.weight).T


def decoder(network: TGCAM, features: list[Tensor]) -> Tensor:
    """Sections 4 to 6 in double precision, words first: the CAM of a block reads T^i, its ITEM makes T^{i+1}."""
    switches, present = network.switches, PROMPTS != 0
    used = positions_used(present if switches.mask_padding else None, 2, LENGTH)
    text, maps = numbers(network.text_encoder.vectors), features[-1].double()
    for block, skip in zip(network.blocks, reversed(features[:-1]), strict=True):
        pixels = numbers(maps.flatten(2).transpose(1, 2))
        if switches.positions:
            pixels = pixels + positions(block.positions, *maps.shape[-2:])
        if switches.use_cam:
            seen = [common_attention(block.cam, pixels[b], text[b], used[b], switches.scale_common) for b in (0, 1)]
            pixels = np.stack(seen) + (pixels if switches.cam_residual else 0)
        if switches.use_item:
            text = linear(block.item.text, text)
            pixels = text_enhancement(block.item, pixels, text, used, training=False)
        maps = upsampled(block.up, torch.from_numpy(pixels).transpose(1, 2).reshape(maps.shape), skip)
    return head(network.head, maps)


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_decoder_is_the_published_one(features, switches):
    network = small_network(**switches)
    with torch.no_grad():
        expected = decoder(network, features)
    assert apart(segment(network, features), expected) < 1e-5


def test_the_head_starts_with_equal_filters_per_pixel_group():
    """ICNR: without it fresh sub-pixel upsampling draws checkerboards."""
    groups = small_network().head[0].conv_block.weight.unflatten(0, (4, 16))
    assert torch.equal(groups, groups[:, :1].expand_as(groups))
    assert not torch.equal(groups[0], groups[1])


# -- Words that are none, and the frozen text encoder --


@pytest.mark.parametrize("switches", [{}, {"use_cam": False}, {"use_item": False}], ids=["both", "ITEM", "CAM"])
@pytest.mark.parametrize("masked", [True, False])
def test_what_stands_at_padded_positions_does_not_matter_when_masked(features, switches, masked):
    network = small_network(mask_padding=masked, **switches)
    vectors = network.text_encoder.vectors
    before = segment(network, features)
    network.text_encoder.vectors = torch.where((PROMPTS != 0)[..., None], vectors, 9 * torch.randn_like(vectors))
    assert torch.equal(segment(network, features), before) is masked


def test_a_word_matters(features):
    network = small_network()
    before = segment(network, features)
    network.text_encoder.vectors = network.text_encoder.vectors.clone()
    network.text_encoder.vectors[:, 1] += 1
    assert apart(segment(network, features), before) > 1e-3


def test_without_both_modules_the_text_encoder_is_not_asked(features):
    network = small_network(use_cam=False, use_item=False)
    network.text_encoder.encode = None
    assert segment(network, features).isfinite().all()


@pytest.fixture(scope="module")
def read_by_bert() -> TGCAM:
    """A small network that reads by a small BERT with the published dropout, in training mode."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENS.words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        hidden_dropout_prob=0.25,
        attention_probs_dropout_prob=0.25,
    )
    encoder = CXRBert(BertModel(config, add_pooling_layer=False), TOKENS, TOKENS.words)
    return TGCAM(encoder, "test_resnet", WIDTHS, channels=4).train()


def test_the_frozen_text_encoder_says_the_same_in_training_and_evaluation(read_by_bert):
    in_training, present = read_by_bert.train().text_encoder(PROMPTS)
    in_evaluation, _ = read_by_bert.eval().text_encoder(PROMPTS)
    assert torch.equal(in_training, in_evaluation) and in_training.shape == (2, LENGTH, 16)
    assert present.equal(PROMPTS != 0)


def test_no_gradient_reaches_the_frozen_text_encoder(read_by_bert):
    output = read_by_bert.train()(torch.rand(2, 3, 64, 64), PROMPTS)
    TGCAMLoss()(output, torch.ones(2, 1, 64, 64)).backward()
    assert all(block.cam.text_key.weight.grad.any() for block in read_by_bert.blocks)
    assert all(weight.grad is None for weight in read_by_bert.text_encoder.parameters())


# -- The objective (section 10) --


def loss(logits: Tensor, mask: Tensor, **weights: float) -> float:
    return TGCAMLoss(**weights)(TGCAMOutput(logits), mask).item()


def picture(*values: float) -> Tensor:
    """One picture of one row, 1 x 1 x 1 x W."""
    return torch.tensor(values, dtype=torch.float).view(1, 1, 1, -1)


def test_objective_by_hand():
    """Probabilities 3/4, 1/4, 1/4, 1/4 where the first pixel alone is foreground; sums are plain, not of squares."""
    logits, mask = picture(1, -1, -1, -1) * math.log(3), picture(1, 0, 0, 0)
    dice, cross_entropy = 1 - 2 * 0.75 / (1.5 + 1), -math.log(0.75)
    assert loss(logits, mask) == pytest.approx(dice + cross_entropy, abs=1e-5)
    assert loss(logits, mask, dice=0.5, cross_entropy=2) == pytest.approx(dice / 2 + 2 * cross_entropy, abs=1e-5)


def test_an_empty_mask_found_empty_costs_nothing_and_missed_a_whole_dice():
    empty = picture(0, 0, 0, 0)
    assert loss(empty - 200, empty) == 0
    assert loss(empty, empty, cross_entropy=0) == pytest.approx(1, abs=1e-4)


def test_dice_is_a_mean_over_pictures():
    logits, mask = picture(99, 99, 99, 99, -99), picture(1, 1, 1, 1, 0)
    logits, mask = torch.cat([logits, -logits.abs()]), torch.cat([mask, picture(1, 0, 0, 0, 0)])  # one small one missed
    assert loss(logits, mask, cross_entropy=0) == pytest.approx(0.5, abs=1e-4)


def test_cross_entropy_is_a_mean_over_all_pixels():
    logits, mask = torch.zeros(2, 1, 1, 4), torch.zeros(2, 1, 1, 4)
    logits[0, ..., 0] = -8  # one pixel of eight is badly wrong
    mask[0, ..., 0] = 1
    expected = (7 * math.log(2) + math.log1p(math.exp(8))) / 8
    assert loss(logits, mask, dice=0) == pytest.approx(expected, rel=1e-5)
