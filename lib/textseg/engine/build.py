"""A model's network put together: the network of its module, with the text encoder that it reads by."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from torch import nn

from textseg.engine.pretrained import find_pretrained
from textseg.networks import network_class, objective_class
from textseg.networks.pretrained import load_encoder
from textseg.registry import ModelSpec
from textseg.text.clip import CLIPText
from textseg.text.compact import CompactText
from textseg.text.encoder import CXRBert, TextEncoder

# Those that come from a folder or a fetch.
LOCAL_ENCODERS: Mapping[str, type] = MappingProxyType({"cxr-bert": CXRBert, "clip": CLIPText})


def build_network(spec: ModelSpec, text_encoder: TextEncoder | None = None) -> nn.Module:
    """A network of the registry with fresh random weights, in training mode, on the CPU.

    text_encoder: what it reads by; when None, a fresh one of the model's kind, with random weights too.
    """
    encoder = text_encoder or fresh_encoder(spec)
    given = {"text_encoder": encoder} if encoder else {}
    return network_class(spec.network)(**spec.settings, **given)


def starting_network(
    spec: ModelSpec,
    from_pretrained: bool,
    pretrained: Path | None = None,
    random_encoders: bool = False,
    words: Sequence[str] | None = None,
) -> nn.Module:
    """What a training starts from: pretrained encoders where there are any for the model, the rest random.

    from_pretrained: whether the image encoder is to be one. pretrained: their folder. random_encoders: without them,
    for trying out. words: see `fresh_encoder`. Raises WeightsMissing when pretrained weights are not there.
    """
    encoder = None if random_encoders else trained_encoder(spec, pretrained)
    network = build_network(spec, encoder or fresh_encoder(spec, words))
    if from_pretrained and not random_encoders:
        folder = find_pretrained(spec.needs[0], pretrained) if spec.needs else None
        load_encoder(network.encoder.features, spec.settings["encoder"], folder)
    return network


def objective_of(spec: ModelSpec, weights: Mapping[str, float | bool]) -> nn.Module:
    """The objective of a model's network, its terms weighted by the recipe."""
    return objective_class(spec.network)(**weights)


def fresh_encoder(spec: ModelSpec, words: Sequence[str] | None = None) -> TextEncoder | None:
    """A text encoder with random weights; None for a network that reads eight numbers.

    words: the vocabulary of the compact one, that of the canonical grammar when None.
    """
    if spec.text_encoder is None:
        return None
    if spec.text_encoder in LOCAL_ENCODERS:
        return LOCAL_ENCODERS[spec.text_encoder].random(**spec.text_settings)
    return CompactText(words, **spec.text_settings)


def trained_encoder(spec: ModelSpec, folder: Path | None = None) -> TextEncoder | None:
    """The pretrained text encoder from its local folder; None for models whose encoder is trained with the network.

    folder: of pretrained weights, see `pretrained_folder`. Raises WeightsMissing when it is not there.
    """
    if spec.text_encoder not in LOCAL_ENCODERS:
        return None
    return LOCAL_ENCODERS[spec.text_encoder].load(find_pretrained(spec.text_encoder, folder), **spec.text_settings)
