"""RecLMIS from picture and words to the mask: published sizes, order and first values, padding, obedience of V'."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from small_reclmis import LENGTH, LOWER_RIGHT, UPPER_LEFT, WIDTH, Vectors, apart, small_network, tokens
from torch import Tensor, nn

from textseg.networks.reclmis import RecLMIS, UpBlock
from textseg.networks.reclmis_attention import Attention, GatedAttention
from textseg.registry import model_spec
from textseg.text.encoder import FrozenEncoder
from textseg.text.tokens import KNOWN_WORDS, WordTokens

SWITCHES = [
    pytest.param({}, id="ours"),
    pytest.param({"kv_from": "text"}, id="patches read the words themselves"),
    pytest.param({"mask_padding": False}, id="padding takes part"),
]


def bottleneck(network: RecLMIS, image: Tensor, sentence: str) -> Tensor:
    """V' (1 x 196 x C)."""
    prompt = network.encode_prompt(tokens(network, sentence))
    visible = prompt.present if network.mask_padding else None
    return network.interaction(network.encode_image(image)[-1], prompt.words, visible)[0]


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

    def encode(self, tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, 512, device=tokens.device)


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


# -- Shapes (sections 4 to 7) --


@pytest.fixture(scope="module")
def shapes(published) -> dict[str, tuple[int, ...]]:
    """What the parts of the published network give for one picture, by name, and what training takes."""
    seen = {}

    def note(name: str, out: object) -> None:
        if isinstance(out, Tensor):
            seen[name] = tuple(out.shape)

    hooks = [
        part.register_forward_hook(lambda _, __, out, name=name: note(name, out))
        for name, part in published.named_modules()
    ]
    output = published(torch.rand(1, 3, 224, 224, device="meta"), torch.ones(1, 18, dtype=torch.long, device="meta"))
    for name, value in vars(output).items():
        note(name, value)
    for hook in hooks:
        hook.remove()
    return seen


def test_the_contracting_path_halves_the_picture_four_times(shapes):
    assert shapes["encoder.stem"] == (1, 64, 224, 224)
    assert shapes["encoder.downs.0"] == (1, 128, 112, 112)
    assert shapes["encoder.downs.1"] == (1, 256, 56, 56)
    assert shapes["encoder.downs.2"] == (1, 512, 28, 28)
    assert shapes["encoder.downs.3"] == (1, 512, 14, 14)


def test_words_read_196_patches_and_patches_read_18_words(shapes):
    assert shapes["text_conv"] == shapes["interaction.text_norm"] == (1, 512, 18)
    assert shapes["interaction.embed"] == (1, 512, 14, 14)
    assert shapes["interaction.positions"] == shapes["interaction.text_to_vision"] == (1, 196, 512)
    assert shapes["interaction.vision_to_text"] == (1, 18, 512)


def test_the_decoder_doubles_the_size_four_times(shapes):
    assert shapes["decoder.0"] == (1, 256, 28, 28)
    assert shapes["decoder.1"] == (1, 128, 56, 56)
    assert shapes["decoder.2"] == (1, 64, 112, 112)
    assert shapes["decoder.3"] == (1, 64, 224, 224)
    assert shapes["head"] == shapes["logits"] == (1, 1, 224, 224)


def test_what_is_rebuilt_has_the_size_of_its_target(shapes):
    assert shapes["rebuilt_patches"] == shapes["patches"] == shapes["raw"] == (1, 196, 512)
    assert shapes["rebuilt_words"] == shapes["target"] == shapes["words"] == (1, 18, 512)
    assert (shapes["patch_scores"], shapes["word_scores"]) == ((1, 196), (1, 18))


# -- Order (section 15): weights can be moved from another implementation one after another --


def parts(module: nn.Module) -> list[str]:
    return [name for name, part in module.named_children() if not isinstance(part, nn.Dropout)]


def test_parts_stand_in_the_order_of_the_text(published):
    whole = ["text_encoder", "text_conv", "encoder", "interaction", "decoder", "head", "reconstruction"]
    assert parts(published) == whole
    assert parts(published.encoder) == ["stem", "downs"]
    reading = ["vision_to_text", "text_to_vision"]
    assert parts(published.interaction) == ["embed", "positions", *reading, "text_head", "text_norm"]
    assert parts(published.reconstruction) == ["patch_scores", "word_scores", "to_patches", "to_words"]


def test_parts_of_an_up_block_stand_in_the_order_of_the_text(published):
    for block in published.decoder:
        assert parts(block) == ["gate", "first", "second"]
        assert parts(block.gate) == ["mean", "peak", "hidden", "out"]


def test_parts_of_a_reconstructor_stand_in_the_order_of_the_text(published):
    for reconstructor in (published.reconstruction.to_patches, published.reconstruction.to_words):
        assert parts(reconstructor) == ["condition", "main"]
        for layer in reconstructor.condition:
            assert parts(layer) == ["attention", "norm", "perceptron", "last_norm"]
        for layer in reconstructor.main:
            assert parts(layer) == ["attention", "norm", "cross", "cross_norm", "perceptron", "last_norm"]


def test_an_attention_has_query_key_value_output(published):
    attentions = [module for module in published.modules() if isinstance(module, Attention)]
    assert len(attentions) == 2 + 2 * 4 * (1 + 2)
    assert all(parts(attention) == ["query", "key", "value", "out"] for attention in attentions)


def test_a_weight_comes_before_its_bias(published):
    names = [name for name, _ in published.named_parameters()]
    biases = [index for index, name in enumerate(names) if name.endswith(".bias")]
    assert len(biases) > 100
    assert all(names[index - 1] == names[index].removesuffix("bias") + "weight" for index in biases)


# -- First values (section 9) --


@pytest.fixture(scope="module")
def fresh() -> RecLMIS:
    torch.manual_seed(3)
    return RecLMIS(Vectors(), width=WIDTH, layers=1)


def is_uniform(weight: Tensor, bound: float) -> bool:
    """Whether 1024 values or more look drawn evenly from -bound to bound."""
    highest, deviation = weight.abs().max().item(), weight.std().item()
    return 0.98 * bound < highest <= bound and deviation == pytest.approx(bound / math.sqrt(3), rel=0.06)


def test_query_key_and_value_are_drawn_as_one_packed_matrix_and_no_attention_has_a_bias(fresh):
    attentions = [module for module in fresh.modules() if isinstance(module, Attention)]
    packed = math.sqrt(6 / (3 * 8 * WIDTH + 8 * WIDTH))  # Xavier: rows and columns of 3C x C
    assert len(attentions) == 8
    for attention in attentions:
        linears = (attention.query, attention.key, attention.value)
        assert all(is_uniform(linear.weight, packed) for linear in linears)
        assert not any(linear.bias.any() for linear in (*linears, attention.out))


def test_the_output_of_an_attention_is_drawn_by_xavier_in_the_reconstructors_alone(fresh):
    for module in fresh.modules():
        if isinstance(module, GatedAttention):
            assert is_uniform(module.out.weight, math.sqrt(6 / (8 * WIDTH + 8 * WIDTH)))
        elif isinstance(module, Attention):
            assert is_uniform(module.out.weight, 1 / math.sqrt(8 * WIDTH))


def test_places_and_norms_are_plain_at_first(fresh):
    norms = [module for module in fresh.modules() if isinstance(module, (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d))]
    assert not fresh.interaction.positions.table.any() and len(norms) > 20
    assert all((norm.weight == 1).all() and not norm.bias.any() for norm in norms)


# -- The mask's path --


def in_one_piece(network: RecLMIS, image: Tensor, text: Tensor) -> Tensor:
    """Logits with nothing encoded ahead: sections 3, 5 and 6 as they are told."""
    *skips, deep = network.encoder(image)
    interaction = network.interaction
    vectors, present = network.text_encoder(text)
    vectors = vectors * present[..., None] if network.mask_padding else vectors
    words = network.text_conv(vectors.mT).mT
    patches = interaction.embed(deep).flatten(2).mT + interaction.positions.table
    given = words if interaction.kv_from == "text" else interaction.vision_to_text(words, patches)
    maps = interaction.text_to_vision(patches, given, present if network.mask_padding else None).mT.reshape(deep.shape)
    for block, skip in zip(network.decoder, skips[::-1], strict=True):
        doubled = maps.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        maps = block.second(block.first(torch.cat([block.gate(skip), doubled], dim=1)))
    return network.head(maps)


@pytest.mark.parametrize("switches", SWITCHES)
def test_halves_encoded_once_serve_two_pictures_and_two_prompts(image, switches):
    network, read = small_network(**switches), []
    network.interaction.text_to_vision.register_forward_hook(lambda _, __, out: read.append(out))
    images, prompts = (image, image.flip(-1) ** 2), tokens(network, UPPER_LEFT, LOWER_RIGHT).split(1)
    with torch.no_grad():
        encoded = [network.encode_image(each) for each in images], [network.encode_prompt(each) for each in prompts]
        halves, whole = itertools.product(*encoded), itertools.product(images, prompts)
        for half, (picture, prompt) in zip(halves, whole, strict=True):
            assert apart(network.segment(*half), in_one_piece(network, picture, prompt)) < 1e-5
            assert apart(*read[-2:]) < 1e-5  # V', to which fresh weights of the decoder pay little heed


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


def test_an_unknown_source_of_what_patches_read_is_refused():
    with pytest.raises(ValueError, match="kv_from"):
        RecLMIS(Vectors(), width=WIDTH, kv_from="words")


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


def test_dropout_on_the_weights_is_for_the_mask_alone(read, given):
    """And there for training alone."""
    gated, plain = GatedAttention(16).train(), Attention(16, dropout=0.5)
    assert torch.equal(gated(read, given), gated(read, given))
    assert not torch.equal(plain(read, given), plain(read, given))
    assert torch.equal(plain.eval()(read, given), plain(read, given))


def test_a_shut_gate_is_a_ten_billionth_open(read, given):
    attention = GatedAttention(16)
    gate = torch.rand(2, 7, generator=torch.Generator().manual_seed(10))
    with torch.no_grad():
        assert apart(attention(read, given, 1e-10 * gate), attention(read, given, 1 + gate)) < 1e-5
