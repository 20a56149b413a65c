"""What models cost: weights, multiply-adds of one picture by part, and medians of full passes in one run.

Counted and timed on random values: no weights are needed.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from textseg.engine.build import build_network
from textseg.engine.texts import Said, TextReader
from textseg.errors import OptionError
from textseg.registry import ModelSpec, model_spec
from textseg.text.prompt import read_prompt

REFERENCE = "c2fvl"  # whose full pass the others are measured against
PROMPT = "Bilateral pulmonary infection, two infected areas, upper left lung and upper right lung"
WARM_UP = 2  # passes that are not counted
COUNTED = (
    "convolutions and matrix products, those of attention included, by torch's FlopCounterMode (2 FLOPs are one "
    "multiply-add); norms, activations, softmax and interpolation are not counted"
)
HEADS = ("total", "trainable", "at inference", "text encoder", "picture", "text encoder", "words", "to mask", "total")
WIDTHS = (9, 10, 13, 16, 10, 13, 7, 9, 8)


@dataclass(frozen=True)
class Weights:
    """Numbers of weights. total, trainable: of the network as it is trained. inference: those that one pass of the
    network made by `for_inference` reads; text_encoder: how many of them are the text encoder's; text_encoder_frozen:
    whether training leaves these as they came.
    """

    total: int
    trainable: int
    inference: int
    text_encoder: int
    text_encoder_frozen: bool


@dataclass(frozen=True)
class MultiplyAdds:
    """Of one picture and one prompt (batch 1): the picture's half, the text encoder, the rest of the prompt's half, and
    the step from both to the mask.
    """

    picture: int
    text_encoder: int
    words: int
    segment: int

    @property
    def total(self) -> int:
        return self.picture + self.text_encoder + self.words + self.segment


@dataclass(frozen=True)
class Seconds:
    """Medians. full: picture and prompt to logits. new_prompt: another prompt on a picture whose half is known."""

    full: float
    new_prompt: float


class ReadWeights(TorchDispatchMode):
    """While it is on: which parameters any operation reads."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}  # of one parameter each, by its id

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, nn.Parameter)]
        self.sizes |= {id(parameter): parameter.numel() for parameter in read}
        return function(*args, **(kwargs or {}))


def network_cost(network: nn.Module, input_size: int) -> tuple[Weights, MultiplyAdds]:
    """What a network costs that takes input_size x input_size pictures; it stays as it is."""
    served = network.for_inference()
    image, text = inputs_of(served, input_size)
    encoder = served.text_encoder
    with ReadWeights() as read:
        of_picture, features = multiply_adds(lambda: served.encode_image(image))
        of_prompt, prompt = multiply_adds(lambda: served.encode_prompt(text))
        of_segment, _ = multiply_adds(lambda: served.segment(features, prompt))
    of_encoder = multiply_adds(lambda: encoder(text))[0] if encoder else 0
    parameters = list(network.parameters())
    weights = Weights(
        total=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        inference=sum(read.sizes.values()),
        text_encoder=sum(read.sizes.get(id(p), 0) for p in encoder.parameters()) if encoder else 0,
        text_encoder_frozen=bool(encoder and encoder.frozen),
    )
    return weights, MultiplyAdds(of_picture, of_encoder, of_prompt - of_encoder, of_segment)


def multiply_adds(work: Callable[[], Any]) -> tuple[int, Any]:
    """How many multiply-adds the work takes, counted as `COUNTED` says, and its result."""
    with unfused_attention(), torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = work()
    return counter.get_total_flops() // 2, result


@contextmanager
def unfused_attention() -> Iterator[None]:
    """Attention as matrix products of their own: the counter does not see into the fused operations of a CPU."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def inputs_of(network: nn.Module, input_size: int) -> tuple[Tensor, Tensor]:
    """A random picture as the predictor gives it, and a canonical sentence as the network reads it."""
    image = torch.rand(1, 3, input_size, input_size, generator=torch.Generator().manual_seed(0))
    said = Said.of(read_prompt(PROMPT))
    return image.to(memory_format=torch.channels_last), TextReader.of(network)([said])


@torch.inference_mode()
def time_passes(specs: Sequence[ModelSpec], repeats: int) -> dict[str, Seconds]:
    """Medians by model name over that many passes (batch 1), the models in turn, so that they meet the same load."""
    networks = {spec.name: build_network(spec).for_inference() for spec in specs}
    inputs = {spec.name: inputs_of(networks[spec.name], spec.input_size) for spec in specs}
    taken: dict[str, list[Seconds]] = {spec.name: [] for spec in specs}
    for _ in range(WARM_UP + repeats):
        for name, network in networks.items():
            taken[name].append(_one_pass(network, *inputs[name]))
    return {
        name: Seconds(*(median(getattr(one, part) for one in passes[WARM_UP:]) for part in ("full", "new_prompt")))
        for name, passes in taken.items()
    }


def _one_pass(network: nn.Module, image: Tensor, text: Tensor) -> Seconds:
    started = time.perf_counter()
    features = network.encode_image(image)
    known = time.perf_counter()
    network.segment(features, network.encode_prompt(text))
    ended = time.perf_counter()
    return Seconds(ended - started, ended - known)


def cost_report(specs: Sequence[ModelSpec], repeats: int | None = None) -> dict[str, Any]:
    """Everything of these models as plain data; repeats: also time that many passes, and the reference's beside them.

    Raises OptionError for less than one.
    """
    if repeats is not None and repeats < 1:
        raise OptionError("--repeats is 1 or more. Correct it.")
    report: dict[str, Any] = {"batch": 1, "counted": COUNTED, "models": [_model_report(spec) for spec in specs]}
    if repeats:
        timed = {spec.name: spec for spec in (*specs, model_spec(REFERENCE))}
        report["time"] = _time_report(time_passes(list(timed.values()), repeats), repeats)
    return report


def _model_report(spec: ModelSpec) -> dict[str, Any]:
    weights, counted = network_cost(build_network(spec), spec.input_size)
    return {
        "name": spec.name,
        "input_size": spec.input_size,
        "weights": asdict(weights),
        "multiply_adds": {**asdict(counted), "total": counted.total},
        "published": asdict(spec.published) if spec.published else None,
    }


def _time_report(seconds: dict[str, Seconds], repeats: int) -> dict[str, Any]:
    full = seconds[REFERENCE].full
    models = {name: {**asdict(one), "of_reference": one.full / full} for name, one in seconds.items()}
    return {"repeats": repeats, "threads": torch.get_num_threads(), "reference": REFERENCE, "models": models}


def cost_table(report: dict[str, Any]) -> Iterator[str]:
    """The lines of a report for people."""
    models = report["models"]
    yield f"{'':15}{'weights (millions)':>46}   {'multiply-adds of one picture, batch 1 (10^9)':>48}"
    yield f"{'model':15}" + _row(HEADS, WIDTHS)
    for model in models:
        weights, counted = model["weights"], model["multiply_adds"]
        sizes = [f"{weights[key] / 1e6:.3f}" for key in ("total", "trainable", "inference", "text_encoder")]
        sizes[-1] += " *" if weights["text_encoder_frozen"] else "  "
        yield f"{model['name']:15}" + _row((*sizes, *(f"{count / 1e9:.3f}" for count in counted.values())), WIDTHS)
    yield "At inference: what one pass of the served network reads, the text encoder with it. * Never trained here."
    yield f"Counted: {report['counted']}."
    for model in models:
        if model["published"]:
            told = "published: {weights} weights, {multiply_adds}. {note}".format(**model["published"])
            yield f"{model['name']}, {told}"
    yield f"No published figures at hand: {', '.join(m['name'] for m in models if not m['published']) or '-'}"
    if "time" in report:
        yield from _time_table(report["time"])


def _time_table(timed: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield (
        f"Medians of {timed['repeats']} passes, batch 1, models in turn in one run, CPU threads: {timed['threads']} "
        "(ms; new prompt: on a picture whose half is known)"
    )
    widths = (12, 12, 24)
    yield f"{'model':15}" + _row(("full pass", "new prompt", f"full pass / {timed['reference']}'s"), widths)
    for name, one in timed["models"].items():
        share = f"{one['of_reference']:.3f} = 1/{1 / one['of_reference']:.1f}"
        yield f"{name:15}" + _row((f"{1000 * one['full']:.1f}", f"{1000 * one['new_prompt']:.1f}", share), widths)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
