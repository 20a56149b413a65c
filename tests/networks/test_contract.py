"""What every model of the registry must do. A new model is tested by standing there: nothing here names one."""

import copy
import dataclasses
import re
from collections.abc import Iterator
from typing import get_type_hints

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from textseg.engine.build import build_network, objective_of
from textseg.engine.metrics import Overlap, summary
from textseg.engine.recipe import recipe_of
from textseg.engine.samples import batch_of, draw_samples
from textseg.engine.texts import Said, TextReader
from textseg.engine.weights import load_stored, save_weights, text_encoder_told
from textseg.errors import WeightsMissing
from textseg.networks import objective_class
from textseg.registry import MODELS, ModelSpec
from textseg.text.encoder import TextEncoder
from textseg.text.finding import Finding

UPPER_LEFT = Finding(left=("upper",), count=1)
OTHER_SIZES = ((256, 256), (320, 224), (250, 230))
SMALL = tuple(spec for spec in MODELS.values() if spec.name.endswith("-compact"))


def stirred(network: nn.Module) -> nn.Module:
    """The network with vectors and running statistics unlike those of a fresh one, of which many are 0, 1 or tiny."""
    for name, values in network.state_dict().items():
        if name.endswith("running_var"):
            values.uniform_(0.5, 1.5)
        elif values.is_floating_point() and (values.ndim == 1 or not values.any()):
            values.add_(0.1 * torch.randn_like(values))
    return network


def texts(network: nn.Module, *findings: Finding | None) -> Tensor:
    """The findings as the network reads them, one row each."""
    return TextReader.of(network)([Said(finding) for finding in findings])


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.fixture(scope="module", params=MODELS.values(), ids=lambda spec: spec.name)
def spec(request: pytest.FixtureRequest) -> ModelSpec:
    return request.param


@pytest.fixture(scope="module")
def network(spec: ModelSpec) -> nn.Module:
    """The model with random weights, in evaluation mode."""
    torch.manual_seed(4)
    return stirred(build_network(spec)).eval()


@pytest.fixture(scope="module")
def batch(spec: ModelSpec, network: nn.Module) -> dict[str, Tensor]:
    """Two drawn pictures, their masks and texts."""
    return batch_of(TextReader.of(network), draw_samples(2, seed=3, size=spec.input_size))


@pytest.fixture(scope="module")
def sides(network: nn.Module) -> Tensor:
    """One finding and its mirror image, as the network reads them."""
    return texts(network, UPPER_LEFT, UPPER_LEFT.mirrored())


@pytest.fixture(scope="module")
def plain(network: nn.Module, batch: dict[str, Tensor], sides: Tensor) -> list[Tensor]:
    """Logits of the first picture with either text, each by a pass of its own."""
    with torch.no_grad():
        return [network(batch["image"][:1], text) for text in sides.split(1)]


@pytest.fixture(scope="module")
def features(network: nn.Module, batch: dict[str, Tensor]) -> list[Tensor]:
    """The first picture, encoded."""
    with torch.no_grad():
        return network.encode_image(batch["image"][:1])


@dataclasses.dataclass
class Step:
    """One training pass of a copy, with its gradients."""

    network: nn.Module
    output: object
    loss: Tensor


@pytest.fixture(scope="module")
def step(spec: ModelSpec, network: nn.Module, batch: dict[str, Tensor]) -> Iterator[Step]:
    trained = copy.deepcopy(network).train()
    output = trained(batch["image"][:1], batch["text"][:1])
    loss = objective_class(spec.network)()(output, batch["mask"][:1])
    loss.backward()
    yield Step(trained, output, loss.detach())
    trained.zero_grad()


class TestContract:
    """Of one model, on random weights."""

    def test_training_changes_as_many_values_as_the_registry_tells(self, spec, network):
        assert sum(weight.numel() for weight in network.parameters() if weight.requires_grad) == spec.parameters

    def test_a_compact_one_has_at_most_eight_million_weights_in_use(self, spec, network):
        used = sum(weight.numel() for weight in network.for_inference().parameters())
        assert used <= 8_000_000 or not spec.name.endswith("-compact")

    def test_it_reads_by_what_the_registry_tells(self, spec, network, sides):
        encoder = network.text_encoder
        assert (encoder is None) is (spec.text_encoder is None)
        assert encoder is None or (isinstance(encoder, TextEncoder) and sides.shape == (2, encoder.length))

    def test_its_image_encoder_is_a_part_of_its_own_that_is_trained(self, network):
        """Recipes give it a rate of its own."""
        count = sum(weight.numel() for weight in network.encoder.parameters() if weight.requires_grad)
        assert 0 < count < sum(weight.numel() for weight in network.parameters())

    def test_one_logit_per_pixel(self, spec, plain):
        for logits in plain:
            assert logits.shape == (1, 1, spec.input_size, spec.input_size)
            assert logits.dtype == torch.float32 and logits.isfinite().all() and logits.std() > 0

    @pytest.mark.parametrize("size", OTHER_SIZES, ids=lambda size: "x".join(map(str, size)))
    def test_another_size_is_taken_or_refused_with_the_one_to_use(self, spec, network, sides, size):
        def answer(size: tuple[int, int]) -> Tensor:
            with torch.no_grad():
                return network(torch.rand(1, 3, *size), sides[:1])

        try:
            assert answer(size).shape[-2:] == size
        except ValueError as refusal:
            named = [(int(a), int(b)) for a, b in re.findall(r"(\d+)x(\d+)", str(refusal))]
            to_use = next(one for one in named if one != size)
            assert to_use == (spec.input_size,) * 2 or answer(to_use).shape[-2:] == to_use

    @pytest.mark.parametrize("finding", [None, Finding(), Finding(absent=True)], ids=["none", "anywhere", "nothing"])
    def test_a_text_without_places_is_read_too(self, network, features, finding):
        with torch.no_grad():
            assert network.segment(features, network.encode_prompt(texts(network, finding))).isfinite().all()

    def test_evaluation_repeats_bit_for_bit(self, network, batch, sides, plain):
        with torch.no_grad():
            assert torch.equal(network(batch["image"][:1], sides[:1]), plain[0])

    def test_a_picture_encoded_once_serves_several_texts(self, network, features, sides, plain):
        with torch.no_grad():
            for text, expected in zip(sides.split(1), plain, strict=True):
                assert apart(network.segment(features, network.encode_prompt(text)), expected) < 1e-5

    def test_pictures_of_a_batch_do_not_see_each_other(self, network, batch, sides, plain):
        with torch.no_grad():
            together = network(batch["image"], sides)
            second = network(batch["image"][1:], sides[1:])
        assert apart(together[:1], plain[0]) < 1e-4
        assert apart(together[1:], second) < 1e-4
        assert apart(second, plain[1]) > 1e-2

    def test_the_other_side_in_the_text_changes_the_mask(self, plain):
        """By how much is a trained network's affair; the same text gives the same bits, see above."""
        assert not torch.equal(*plain)

    def test_the_network_for_inference_is_the_same_function(self, network, batch, sides, plain):
        before = {name: value.clone() for name, value in network.state_dict().items()}
        fast = network.for_inference()
        with torch.no_grad():
            assert apart(fast(batch["image"][:1], sides[:1]), plain[0]) < 1e-4
        assert not fast.training and not any(weight.requires_grad for weight in fast.parameters())
        assert any(weight.requires_grad for weight in network.parameters())
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())

    def test_training_gives_what_the_objective_takes(self, spec, step, batch):
        taken = next(iter(get_type_hints(objective_class(spec.network).forward).values()))
        assert dataclasses.is_dataclass(taken) and type(step.output) is taken
        assert step.output.logits.shape == batch["mask"][:1].shape
        assert step.loss.shape == () and step.loss.isfinite() and step.loss > 0

    def test_the_objective_takes_the_weights_of_every_recipe(self, spec, step, batch):
        for name in spec.recipes:
            loss = objective_of(spec, recipe_of(spec, name).loss)(step.output, batch["mask"][:1])
            assert loss.isfinite() and loss > 0

    def test_gradients_reach_every_trainable_weight(self, step):
        weights = {name: weight for name, weight in step.network.named_parameters() if weight.requires_grad}
        wrong = [
            name
            for name, weight in weights.items()
            if weight.grad is None or not weight.grad.isfinite().all() or (weight.ndim > 1 and not weight.grad.any())
        ]
        assert weights and wrong == []

    def test_a_frozen_text_encoder_gets_no_gradient_and_is_not_stored(self, step):
        encoder = step.network.text_encoder
        weights = list(encoder.parameters()) if encoder is not None else []
        frozen = encoder is not None and encoder.frozen
        assert all((weight.grad is None) is frozen for weight in weights)
        assert any(key.startswith("text_encoder.") for key in step.network.state_dict()) is bool(weights and not frozen)

    def test_what_is_stored_comes_back(self, spec, network, batch, sides, plain, tmp_path):
        path = tmp_path / "mine.safetensors"
        told = text_encoder_told(spec, network, verbatim=False, random=True)
        save_weights(network, path, {"threshold": 0.5, "text_encoder": told})
        loaded = load_stored(spec, path)[0]
        assert not loaded.training
        before, after = network.state_dict(), loaded.state_dict()
        assert before.keys() == after.keys()
        for key, value in before.items():
            assert torch.equal(after[key], value.half().float() if value.is_floating_point() else value), key
        with torch.no_grad():
            assert apart(loaded(batch["image"][:1], sides[:1]), plain[0]) < 0.02

    def test_weights_that_say_nothing_of_their_text_encoder_are_refused(self, spec, network, tmp_path):
        if network.text_encoder is None:
            pytest.skip("it reads eight numbers")
        path = tmp_path / "mine.safetensors"
        save_weights(network, path, {"threshold": 0.5})
        with pytest.raises(WeightsMissing):
            load_stored(spec, path, pretrained=tmp_path)


def smallest_size(network: nn.Module, spec: ModelSpec) -> int:
    """A side that is quick to train on, where the network takes it."""
    try:
        with torch.no_grad():
            network.eval().encode_image(torch.rand(1, 3, 64, 64))
    except ValueError:
        return spec.input_size
    return 64


def dice(logits: Tensor, mask: Tensor) -> float:
    pairs = zip((logits > 0).numpy(), (mask > 0).numpy(), strict=True)
    return summary([Overlap.of(*pair) for pair in pairs])["dice_image"]


def with_statistics_of(network: nn.Module, batch: dict[str, Tensor]) -> nn.Module:
    """The network in evaluation mode, its batch norms by the mean and variance of this batch alone."""
    for norm in network.modules():
        if isinstance(norm, _BatchNorm):
            norm.reset_running_stats()
            norm.momentum = None
    with torch.no_grad():
        network.train()(batch["image"], batch["text"])
    return network.eval()


@pytest.mark.parametrize("spec", SMALL, ids=lambda spec: spec.name)
def test_eight_pictures_are_learnt_by_heart(spec):
    torch.manual_seed(0)
    network = build_network(spec)
    batch = batch_of(TextReader.of(network), draw_samples(8, seed=0, size=smallest_size(network, spec)))
    halves = [{key: value[start::2] for key, value in batch.items()} for start in (0, 1)]
    objective = objective_of(spec, recipe_of(spec).loss)
    optimizer = torch.optim.AdamW((weight for weight in network.parameters() if weight.requires_grad), lr=2e-3)
    network.train()
    seen = [0.0]
    while min(seen[-2:]) < 0.82 and len(seen) <= 64:
        half = halves[len(seen) % 2]
        output = network(half["image"], half["text"])
        optimizer.zero_grad()
        objective(output, half["mask"]).backward()
        optimizer.step()
        seen.append(dice(output.logits.detach(), half["mask"]))
    with torch.no_grad():
        logits = with_statistics_of(network, batch)(batch["image"], batch["text"])
    assert seen[1] < 0.5
    assert dice(logits, batch["mask"]) > 0.75  # the best mask that is the same for all of them reaches 0.63
