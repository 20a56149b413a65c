"""Whether a model can be served: weights, manifest and pretrained text encoder, as they lie here. Imports no torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from textseg.engine.pretrained import PRETRAINED, find_pretrained
from textseg.errors import WeightsMissing
from textseg.registry import MODELS, ModelSpec

SHIPPED_VERSION = "v0000"


def not_ready(spec: ModelSpec, path: Path | None = None, pretrained: Path | None = None) -> str | None:
    """None for a model that is ready, else the sentence that says why it is not and what to do.

    For the parameters, see `ready_manifest`.
    """
    try:
        ready_manifest(spec, path, pretrained)
    except WeightsMissing as error:
        return str(error)
    return None


def ready_manifest(spec: ModelSpec, path: Path | None = None, pretrained: Path | None = None) -> dict[str, Any]:
    """The manifest of weights that can be loaded, as far as that can be told without torch.

    path: another weights file than the shipped one. pretrained: folder of pretrained text encoders. Raises
    WeightsMissing, which says what to do: no file, no manifest or another file's, other settings than the model has, or
    the text encoder is not here.
    """
    manifest = stored_manifest(spec, path)
    path = path or spec.weights_path
    if manifest.get("sha256") != sha256_of(path):
        raise WeightsMissing(f"{path.name} is not the file that its manifest describes (sha-256). Install it again.")
    if spec.text_encoder in PRETRAINED and not (manifest.get("text_encoder") or {}).get("random"):
        find_pretrained(spec.text_encoder, pretrained)
    return manifest


def stored_manifest(spec: ModelSpec, path: Path | None = None) -> dict[str, Any]:
    """The manifest of weights that are there, for this model by what it tells. path, errors: see `ready_manifest`."""
    if path is None and not spec.weights_path.is_file():
        raise WeightsMissing(_no_weights(spec))
    path = path or spec.weights_path
    if not path.is_file():
        raise WeightsMissing(f"There is no weights file {path}. To get one, {spec.remedy}.")
    manifest = read_manifest(path)
    other = _other_settings(spec, manifest)
    if other:
        raise WeightsMissing(f"{path.name} was trained with other settings than {spec.name} has: {other}. Train again.")
    return manifest


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of the weights at `path`. Raises WeightsMissing when it is absent or damaged."""
    try:
        manifest = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        float(manifest["threshold"])
        dict(manifest.get("settings", {}))
        return manifest
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WeightsMissing(
            f"The manifest {path.stem}.json is missing or damaged. It belongs beside {path}: copy it there, or train "
            "or install the weights again."
        ) from error


def sha256_of(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _no_weights(spec: ModelSpec) -> str:
    shipped = [other.name for other in MODELS.values() if other.has_weights]
    return (
        f"The model {spec.name} has no weights here. First {spec.remedy}, then name the file by --weights, or its "
        f"folder to a server by --conf weights FOLDER; or use a model that has weights: {', '.join(shipped) or 'none'}."
    )


def _other_settings(spec: ModelSpec, manifest: dict[str, Any]) -> str:
    """What the manifest tells otherwise than the registry, in words; "" when nothing, or where it is silent."""
    told = {key: manifest[key] for key in ("network", "input_size") if key in manifest}
    own = {key: getattr(spec, key) for key in told}
    if "settings" in manifest:
        told |= manifest["settings"]
        own |= json.loads(json.dumps(dict(spec.settings)))  # as a manifest has them: lists for tuples
    other = [key for key in {**told, **own} if key not in told or key not in own or told[key] != own[key]]
    return ", ".join(f"{key} {told.get(key, 'not set')}, here {own.get(key, 'not set')}" for key in other)
