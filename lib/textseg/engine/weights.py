"""Weights on disk: safetensors in half precision beside a JSON manifest that says where they come from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from textseg.engine.build import LOCAL_ENCODERS, build_network, fresh_encoder, trained_encoder
from textseg.engine.ready import ready_manifest, sha256_of
from textseg.errors import WeightsMissing
from textseg.registry import ModelSpec
from textseg.text.encoder import TextEncoder
from textseg.text.prompt import LATERALITIES
from textseg.text.tokens import LENGTH

MANIFEST_SCHEMA = 1
CANONICAL, VERBATIM = ("canonical", "verbatim")  # what a text encoder reads: our sentence, or the user's words


def save_weights(network: nn.Module | Mapping[str, torch.Tensor], path: Path, manifest: dict[str, Any]) -> None:
    """Write `path` (.safetensors, floats in half precision) and its manifest (.json), each in one step.

    network: or its state.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    state = network.state_dict() if isinstance(network, nn.Module) else network
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous().clone() for key, value in state.items()
    }
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(tensors))  # `save_file` makes a file that only its owner may read
    partial.replace(path)
    write_manifest(path, {**manifest, "schema": MANIFEST_SCHEMA, "sha256": sha256_of(path)})


def write_manifest(path: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of the weights at `path`, in one step."""
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    partial.replace(path.with_suffix(".json"))


def spoken_sides(manifest: dict[str, Any]) -> str | None:
    """Whose sides the words speak of that weights were trained on as they stand; None where they read our sentence.

    Raises WeightsMissing where the manifest does not say it.
    """
    told = manifest.get("text_encoder") or {}
    if told.get("reads") != VERBATIM:
        return None
    if told.get("laterality") not in LATERALITIES:
        raise WeightsMissing(
            f"The manifest of {manifest.get('name')} does not say whose sides its training sentences spoke of. Write "
            f'"laterality": "patient" or "picture" into its text_encoder, or train it again.'
        )
    return told["laterality"]


def text_encoder_told(
    spec: ModelSpec, network: nn.Module, verbatim: bool, random: bool, laterality: str = "patient"
) -> dict[str, Any] | None:
    """What a manifest says of the text encoder that the network was trained with; None where it has none.

    laterality: whose sides the words speak of that are read verbatim.
    """
    encoder = network.text_encoder
    if encoder is None:
        return None
    told = {
        "name": spec.text_encoder,
        "sha256": encoder.identity(),
        "reads": VERBATIM if verbatim else CANONICAL,
        "length": encoder.length,
    }
    if random:
        return {**told, "random": True}
    if verbatim:
        told["laterality"] = laterality
    return {**told, "words": list(encoder.vocabulary)} if verbatim and not encoder.frozen else told


def load_stored(
    spec: ModelSpec, path: Path | None = None, pretrained: Path | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """The network with its stored weights, float32, in evaluation mode, on the CPU; and the manifest.

    path: another weights file than the shipped one. pretrained: folder of pretrained text encoders. Raises
    WeightsMissing when the file is absent, is not the one that its manifest describes, does not fit the network, or was
    trained with other settings or another text encoder.
    """
    manifest = ready_manifest(spec, path, pretrained)
    path = path or spec.weights_path
    told = manifest.get("text_encoder") or {}
    network = build_network(spec, _stored_encoder(spec, told, pretrained))
    try:
        network.load_state_dict({key: value.to(_wide(value)) for key, value in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise WeightsMissing(f"{path.name} does not fit the network {spec.name}. Train or install it again.") from error
    encoder = network.text_encoder
    if encoder is not None and (encoder.identity(), encoder.length) != (told.get("sha256"), told.get("length", LENGTH)):
        raise WeightsMissing(_other_encoder(spec, path))
    return network.eval(), manifest


def take_encoder(network: nn.Module, spec: ModelSpec) -> str:
    """Fill a network's image encoder from that of another model's shipped weights; returns what a manifest says of it.

    Raises WeightsMissing when there are none, or they are of another encoder.
    """
    other, manifest = load_stored(spec)
    features = getattr(other.encoder, "features", None)
    try:
        network.encoder.features.load_state_dict(features.state_dict())
    except (RuntimeError, AttributeError) as error:
        raise WeightsMissing(f"The image encoder of {spec.name} is another one than this model has.") from error
    return f"image encoder of {spec.name} {manifest['version']}, sha-256 {manifest['sha256']}; the rest random"


def _stored_encoder(spec: ModelSpec, told: dict[str, Any], pretrained: Path | None) -> TextEncoder | None:
    """The text encoder of a manifest, before weights that are stored with the network are loaded into it."""
    if spec.text_encoder in LOCAL_ENCODERS and not told.get("random"):
        return trained_encoder(spec, pretrained)
    return fresh_encoder(spec, told.get("words"))


def _other_encoder(spec: ModelSpec, path: Path) -> str:
    if spec.text_encoder in LOCAL_ENCODERS:
        return (
            f"{path.name} was trained with another {spec.text_encoder} than the one at hand. Fetch it again "
            f"(textseg fetch {spec.text_encoder}), or name the folder that it was trained with (--pretrained)."
        )
    return f"{path.name} was trained with other words than this version of textseg has. Train or install it again."


def _wide(value: torch.Tensor) -> torch.dtype:
    return torch.float32 if value.is_floating_point() else value.dtype
