"""The networks: pure torch, (picture, text) -> logits. One module per network.

Each module names its class NETWORK and its training objective OBJECTIVE. A network offers `encode_image`,
`encode_prompt`, `segment` and `forward` as their composition, `text_encoder` (None: it reads eight numbers), `encoder`
and `for_inference`; in training mode it returns the dataclass that its objective takes.
"""

from importlib import import_module

from torch import nn


def network_class(name: str) -> type[nn.Module]:
    """The network of that module."""
    return import_module(f"{__name__}.{name}").NETWORK


def objective_class(name: str) -> type[nn.Module]:
    """(output in training mode, mask) -> scalar, of the network of that module."""
    return import_module(f"{__name__}.{name}").OBJECTIVE
