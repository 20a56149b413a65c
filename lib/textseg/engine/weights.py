"""Weights on disk: safetensors in half precision beside a JSON manifest that says where they come from."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from textseg.errors import WeightsMissing
from textseg.networks import build_network
from textseg.registry import ModelSpec

MANIFEST_SCHEMA = 1
SHIPPED_VERSION = "v0000"


def save_weights(network: nn.Module, path: Path, manifest: dict[str, Any]) -> None:
    """Write `path` (.safetensors, floats in half precision) and its manifest (.json), each in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous().clone()
        for key, value in network.state_dict().items()
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


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the weights at `path`. Raises WeightsMissing when it is absent or damaged."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        float(manifest["threshold"])
        return manifest
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsMissing(f"The manifest {path.stem}.json is missing or damaged. Install textseg again.") from error


def load_network(spec: ModelSpec, path: Path | None = None) -> nn.Module:
    """The network with its stored weights, float32, in evaluation mode, on the CPU.

    path: another weights file than the shipped one. Raises WeightsMissing when the file is absent, is not the one that
    its manifest describes, or does not fit the network.
    """
    path = path or spec.weights_path
    if not path.is_file():
        raise WeightsMissing(f"There is no weights file {path.name}. Train it: textseg train {spec.name}.")
    if read_manifest(path).get("sha256") != sha256_of(path):
        raise WeightsMissing(f"{path.name} is not the file that its manifest describes (sha-256). Install it again.")
    network = build_network(spec)
    try:
        network.load_state_dict({key: value.to(_wide(value)) for key, value in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise WeightsMissing(f"{path.name} does not fit the network {spec.name}. Train or install it again.") from error
    return network.eval()


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _wide(value: torch.Tensor) -> torch.dtype:
    return torch.float32 if value.is_floating_point() else value.dtype
