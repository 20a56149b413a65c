"""The networks: pure torch, (picture, text) -> logits."""

from collections.abc import Callable

from torch import nn

from textseg.networks.c2fvl import C2FVL
from textseg.registry import ModelSpec

NETWORKS: dict[str, Callable[..., nn.Module]] = {"c2fvl": C2FVL}


def build_network(spec: ModelSpec) -> nn.Module:
    """A network of the registry with fresh random weights, in training mode, on the CPU."""
    return NETWORKS[spec.network](**spec.settings)
