"""Picture and text -> mask, by one loaded model. What the last pictures and prompts gave is kept; knows no HTTP."""

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch
from cachetools import LRUCache, cachedmethod
from torch import Tensor, nn

from textseg.engine.ready import SHIPPED_VERSION
from textseg.engine.texts import Said, TextReader
from textseg.engine.weights import CANONICAL, VERBATIM, load_stored, spoken_sides
from textseg.imaging.picture import CT, Picture
from textseg.imaging.preprocess import to_display, to_network
from textseg.registry import ModelSpec
from textseg.text.sides import speaks_of_sides

BATCH = 8  # slices of a volume that go through the network together: it bounds the memory that a volume takes
KEPT_PICTURES, KEPT_PROMPTS = 4, 256  # whose half of the work is not done again for another prompt or picture
TOLD = 64  # the log tells of every so many slices
RANDOM_ENCODER = "{} was trained with a random text encoder: it knows the words of the canonical sentence only."
logger = logging.getLogger(__name__)


@dataclass
class Stopwatch:
    """Seconds by name."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Adds the time of the `with` to `name`."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started


@dataclass(frozen=True)
class Prediction:
    """masks: N x H x W uint8 of 0 and 1 on the displayed slices. warnings: sentences for the user."""

    masks: np.ndarray
    warnings: tuple[str, ...]


class Predictor:
    """One model of the registry, ready: its network, the threshold above which a pixel counts, its version.

    spoken: it reads the user's words as they stand, and its training sentences spoke of these sides, see `read_prompt`.
    told: sentences that every user of it reads. weights_sha256: of the file that it was loaded from, "" for none.
    """

    def __init__(
        self,
        spec: ModelSpec,
        network: nn.Module,
        threshold: float,
        version: str,
        device: str,
        spoken: str | None = None,
        told: tuple[str, ...] = (),
    ) -> None:
        self.spec, self.threshold, self.version, self.device = spec, threshold, version, device
        self.spoken, self.told = spoken, told
        self.weights_sha256 = ""
        self.network = network.to(device)
        self.reader = TextReader.of(network, self.verbatim)
        self._pictures, self._prompts = LRUCache(KEPT_PICTURES), LRUCache(KEPT_PROMPTS)
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls, spec: ModelSpec, weights: Path | None = None, device: str = "cpu", pretrained: Path | None = None
    ) -> "Predictor":
        """From a weights file, the shipped one when None. pretrained: folder of pretrained text encoders.

        Raises WeightsMissing when it cannot be loaded, or was trained with another text encoder than the one at hand.
        """
        network, manifest = load_stored(spec, weights, pretrained)
        version = str(manifest.get("version", SHIPPED_VERSION))
        random = (manifest.get("text_encoder") or {}).get("random")
        told = (RANDOM_ENCODER.format(spec.name),) if random else ()
        network = network.for_inference()
        predictor = cls(spec, network, float(manifest["threshold"]), version, device, spoken_sides(manifest), told)
        predictor.weights_sha256 = str(manifest["sha256"])
        return predictor

    @property
    def verbatim(self) -> bool:
        """Whether it reads the user's words as they stand."""
        return self.spoken is not None

    @property
    def reads(self) -> str:
        """What its network reads of a prompt: "verbatim" or "canonical", as a manifest says it."""
        return VERBATIM if self.verbatim else CANONICAL

    def warm_up(self) -> None:
        """One empty picture through the network, so that the first user does not wait for it."""
        with torch.inference_mode():
            blank = torch.zeros(1, 3, self.spec.input_size, self.spec.input_size, device=self.device)
            self.network(blank, self.reader([Said()]).to(self.device))

    def predict(
        self,
        picture: Picture,
        said: Said,
        threshold: float | None = None,
        watch: Stopwatch | None = None,
    ) -> Prediction:
        """Segment what is said.

        threshold: probability above which a pixel counts, the model's own when None. A finding that denies
        everything gives an empty mask without asking the network.
        """
        watch = watch or Stopwatch()
        count, height, width = picture.shape
        masks = np.zeros(picture.shape, np.uint8)
        if said.finding is not None and said.finding.nothing:
            return Prediction(masks, ("The prompt says that there is nothing: the mask is empty.",))
        said, warnings = self.usable(picture, said)
        for start in range(0, count, BATCH):
            part = slice(start, start + BATCH)
            with watch.measure("preprocess"):
                inputs = to_network(picture.part(start, start + BATCH), self.spec.input_size)
            with watch.measure("network"):
                probabilities = self.probabilities(self.encode(inputs), said)
            with watch.measure("postprocess"):
                masks[part] = self.threshold_masks(probabilities, height, width, threshold)
            if start // TOLD < (start + BATCH) // TOLD and start + BATCH < count:
                logger.info("%s: slice %d of %d", self.spec.name, start + BATCH, count)
        return Prediction(masks, warnings)

    def encode(self, inputs: Tensor, kept: bool = True) -> list[Tensor]:
        """N x 3 x S x S pictures to the features that any prompt can be asked of. The last single ones are kept.

        kept: False for a picture that nobody asks for next.
        """
        return self._features(inputs) if kept and len(inputs) == 1 else self._encoded(inputs)

    @torch.inference_mode()
    def probabilities(self, features: list[Tensor], said: Said) -> Tensor:
        """N x 1 x S x S probabilities of infection as the text asks; zeros where its finding denies any."""
        if said.finding is not None and said.finding.nothing:
            return torch.zeros(len(features[0]), 1, self.spec.input_size, self.spec.input_size)
        prompt = self._prompt(self.reader([said]))
        return torch.sigmoid(self.network.segment(features, prompt)).cpu()

    @cachedmethod(attrgetter("_pictures"), lambda _, inputs: _digest(inputs), attrgetter("_lock"))
    def _features(self, inputs: Tensor) -> list[Tensor]:
        return self._encoded(inputs)

    @torch.inference_mode()
    def _encoded(self, inputs: Tensor) -> list[Tensor]:
        return self.network.encode_image(inputs.to(self.device, memory_format=torch.channels_last))

    @cachedmethod(attrgetter("_prompts"), lambda _, text: tuple(text[0].tolist()), attrgetter("_lock"))
    @torch.inference_mode()
    def _prompt(self, text: Tensor) -> object:
        return self.network.encode_prompt(text.to(self.device))

    def threshold_masks(
        self, probabilities: Tensor, height: int, width: int, threshold: float | None = None
    ) -> np.ndarray:
        """Probabilities to N x H x W uint8 masks on the displayed slices."""
        threshold = self.threshold if threshold is None else threshold
        return (to_display(probabilities, height, width) > threshold).astype(np.uint8)

    def usable(self, picture: Picture, said: Said) -> tuple[Said, tuple[str, ...]]:
        """The part of what is said that this model can use on this picture, and what to tell the user."""
        warnings, finding = [*picture.warnings, *self.told], said.finding
        if picture.modality not in self.spec.modalities:
            warnings.append(f"{self.spec.name} has never seen {picture.modality.upper()}: treat this mask as a guess.")
        if picture.modality == CT and CT not in self.spec.modalities and finding is not None:
            warnings.append("On CT only the sides of the prompt are used: zones are a radiograph's.")
            finding = finding.without_zones()
        if not picture.sides_known and finding is not None and not finding.anywhere:
            warnings.append("The sides in the prompt mean nothing in this view: infection is looked for anywhere.")
            finding = None
        if not picture.sides_known and speaks_of_sides(said.words):
            warnings.append(
                "The sides in the prompt mean nothing in this view, but are read: treat this mask as a guess."
            )
        said = replace(said, finding=finding)
        return said, (*warnings, *self._lost(said))

    def _lost(self, said: Said) -> Iterator[str]:
        """What to tell the user of words that the network does not get."""
        lost = self.reader.lost(said)
        if lost.unknown:
            yield f"Not known to {self.spec.name} and not used: {', '.join(lost.unknown)}."
        if lost.cut:
            yield f"The prompt is too long for {self.spec.name}; not used: {', '.join(lost.cut)}."


def _digest(inputs: Tensor) -> bytes:
    return hashlib.sha256(inputs.contiguous().numpy()).digest()
