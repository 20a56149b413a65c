"""C2FVL alone: published size and shapes, what the eight numbers do, and the exact rewritings for inference."""

import pytest
import torch
from torch import Tensor, nn

from textseg.networks.c2fvl import C2FVL
from textseg.registry import model_spec

TEXT = torch.tensor([[1.0, 2, 1, 0, 1, 1, 1, 0]])


@pytest.fixture(scope="module")
def small() -> C2FVL:
    """A small network with running statistics and positions that are not those of a fresh one, in evaluation mode."""
    torch.manual_seed(2)
    network = C2FVL(width=8).eval()
    for name, values in network.state_dict().items():
        if name.endswith(("running_mean", "positions.table")):
            values.normal_(std=0.1)
        elif name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
    return network


@pytest.fixture(scope="module")
def features(small, image) -> list[Tensor]:
    with torch.no_grad():
        return small.encode_image(image)


@pytest.fixture(scope="module")
def published() -> C2FVL:
    """The published width without memory behind it: shapes and sizes only."""
    with torch.device("meta"):
        return C2FVL()


def size(*parts: nn.Module | nn.Parameter | None) -> int:
    """Trainable values of modules and single tensors together."""
    tensors = [t for part in parts if isinstance(part, nn.Module) for t in part.parameters()]
    return sum(t.numel() for t in (*tensors, *(part for part in parts if isinstance(part, Tensor))))


def vlab_inputs_and_outputs(network: C2FVL, features: list[Tensor], text: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(G, V) of the four levels."""
    seen = []
    hooks = [vlab.register_forward_hook(lambda _, args, out: seen.append((args[0], out))) for vlab in network.vlabs]
    with torch.no_grad():
        network.segment(features, text)
    for hook in hooks:
        hook.remove()
    return seen


def test_published_size_block_by_block(published):
    assert size(published) == model_spec("c2fvl").parameters == 24_196_088
    assert [size(e) for e in published.encoder.stages] == [1_920, 221_952, 886_272, 3_542_016, 4_721_664]
    branch = [size(level.embed, level.positions, level.block, level.squeeze) for level in published.levels]
    assert branch == [1_111_168, 1_296_832, 1_987_456, 4_695_808]
    assert [size(level.rebuild) for level in published.levels] == [4_288, 16_768, 66_304, 263_680]
    assert [size(vlab) for vlab in published.vlabs] == [16_525, 65_805, 262_669, 1_049_613]
    assert [size(block) for block in published.decoder] == [2_950_656, 738_048, 184_704, 110_976]
    assert [size(head) for head in (published.head, *published.auxiliary)] == [65, 129, 257, 513]


@pytest.mark.parametrize("statistic", ["running_mean", "running_var"])
def test_published_number_of_running_statistics(published, statistic):
    assert sum(b.numel() for name, b in published.named_buffers() if name.endswith(statistic)) == 5_312


def shapes_inside(network: C2FVL) -> dict[str, list[tuple[int, ...]]]:
    """Name of a part -> shapes, without the batch, of what it reads first and of all that it gives."""
    parts = {"E": network.encoder.stages, "V": network.vlabs, "level": network.levels, "D": network.decoder}
    parts["squeeze"] = [level.squeeze for level in network.levels[1:]]
    seen = {}

    def note(name):
        def hook(_, args, out):
            seen[name] = [tuple(t.shape[1:]) for t in (args[0], *(out if isinstance(out, tuple) else (out,)))]

        return hook

    for kind, modules in parts.items():
        for number, module in enumerate(modules, start=1):
            module.register_forward_hook(note(f"{kind}{number}"))
    output = network(torch.zeros(1, 3, 224, 224, device="meta"), torch.zeros(1, 8, device="meta"))
    return seen | {"maps": [tuple(t.shape) for t in (output.logits, *output.auxiliary)]}


def test_published_shapes():
    with torch.device("meta"):
        shapes = shapes_inside(C2FVL())
    pyramid = [(64, 224, 224), (128, 112, 112), (256, 56, 56), (512, 28, 28), (512, 14, 14)]
    assert [shapes[f"E{i}"][1] for i in range(1, 6)] == pyramid
    assert [shapes[f"V{i}"] for i in range(1, 5)] == [[shape, shape] for shape in pyramid[:4]]
    assert [shapes[f"level{i}"][1:] for i in range(1, 5)] == [[shape, (196, shape[0])] for shape in pyramid[:4]]
    assert [shapes[f"squeeze{i}"][1] for i in (1, 2, 3)] == [(64, 196), (128, 196), (256, 196)]
    joined = [(1024, 28, 28), (512, 56, 56), (256, 112, 112), (128, 224, 224)]
    decoded = [(256, 28, 28), (128, 56, 56), (64, 112, 112), (64, 224, 224)]
    assert [shapes[f"D{i}"] for i in range(1, 5)] == [list(pair) for pair in zip(joined, decoded, strict=True)]
    assert shapes["maps"] == [(1, 1, 224, 224)] * 5


@pytest.mark.parametrize("shape", [(256, 256), (224, 256), (112, 112)])
def test_another_picture_size_is_refused_with_the_right_one(small, shape):
    with pytest.raises(ValueError, match="224x224"):
        small(torch.zeros(1, 3, *shape), TEXT)


def test_a_width_that_eight_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="multiple of 8"):
        C2FVL(width=12)


@pytest.mark.parametrize("index", range(8))
def test_a_zero_in_the_text_removes_its_channels(small, features, index):
    text = torch.ones(1, 8)
    text[0, index] = 0
    for weighted, _ in vlab_inputs_and_outputs(small, features, text):
        used = weighted[0].flatten(1).abs().amax(1) > 0
        assert not used[index::8].any()
        assert used[[c for c in range(len(used)) if c % 8 != index]].any()


def test_doubled_text_doubles_what_the_alignment_blocks_read(small, features):
    once, twice = (vlab_inputs_and_outputs(small, features, text) for text in (TEXT, 2 * TEXT))
    for (weighted, _), (doubled, _) in zip(once, twice, strict=True):
        assert weighted.abs().max() > 0
        assert torch.equal(doubled, 2 * weighted)


def test_text_of_zeros_leaves_the_deepest_features_alone(small, features):
    nothing = torch.zeros(1, 8)
    assert all(gated.abs().max() == 0 for _, gated in vlab_inputs_and_outputs(small, features, nothing))
    with torch.no_grad():
        logits = small.segment(features, nothing)
        other_levels = small.segment([*(torch.randn_like(f) for f in features[:4]), features[4]], nothing)
        other_deep = small.segment([*features[:4], features[4].flip(-1)], nothing)
    assert torch.equal(logits, other_levels)
    assert not torch.allclose(logits, other_deep)


def test_the_gate_is_one_value_per_pixel_and_may_be_negative(small, features):
    lowest = []
    for weighted, gated in vlab_inputs_and_outputs(small, features, TEXT):
        used = weighted.abs() > 1e-3
        ratio = torch.where(used, gated / weighted, torch.nan)
        assert used.sum() > 1000
        assert torch.allclose(ratio[used], ratio.nanmedian(1, keepdim=True)[0].expand_as(ratio)[used], rtol=1e-3)
        lowest.append(ratio[used].min())
    assert min(lowest) < 0


def relative_difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def test_the_network_for_inference_is_the_same_function(small, image):
    fast = small.for_inference()
    norms = [module for module in fast.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms == [] and size(fast) < size(small)
    with torch.no_grad():
        assert relative_difference(fast(image, TEXT), small(image, TEXT)) < 1e-5


def test_halves_are_joined_in_the_published_order(small, image):
    """Squeezed tokens before the coarser ones' and skips before what comes from below: weights of others fit."""
    coarser, skips, joined = [], [], []
    hooks = [
        level.register_forward_hook(lambda _, args, out: coarser.append((args[1], out[1]))) for level in small.levels
    ]
    hooks += [vlab.register_forward_hook(lambda _, args, out: skips.insert(0, out)) for vlab in small.vlabs]
    hooks += [block.register_forward_pre_hook(lambda _, args: joined.append(args[0])) for block in small.decoder]
    with torch.no_grad():
        small(image, TEXT)
    for hook in hooks:
        hook.remove()
    assert all(torch.equal(tokens[..., -before.shape[-1] :], before) for before, tokens in coarser[1:])
    assert all(torch.equal(both[:, : skip.shape[1]], skip) for both, skip in zip(joined, skips, strict=True))


def test_a_text_with_one_dimension_more_is_the_same_text(small, features):
    with torch.no_grad():
        assert torch.equal(small.segment(features, TEXT.view(1, 1, 8)), small.segment(features, TEXT))
