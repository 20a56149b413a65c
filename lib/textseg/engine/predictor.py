"""Picture and finding -> mask, by one loaded model. Keeps no state between calls; knows no HTTP."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from textseg.engine.weights import SHIPPED_VERSION, load_network, read_manifest
from textseg.imaging.picture import CT, Picture
from textseg.imaging.preprocess import to_display, to_network
from textseg.registry import ModelSpec
from textseg.text.eight_numbers import eight_numbers
from textseg.text.finding import Finding

BATCH = 8  # slices of a volume that go through the network together: it bounds the memory that a volume takes
TOLD = 64  # the log tells of every so many slices
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
    """One model of the registry, ready: its network, the threshold above which a pixel counts, its version."""

    def __init__(
        self, spec: ModelSpec, network: nn.Module, threshold: float, version: str, device: str, verbatim: bool = False
    ) -> None:
        self.spec, self.threshold, self.version, self.device = spec, threshold, version, device
        self.verbatim = verbatim  # what the reader does not understand is no refusal for this model
        self.network = network.to(device)

    @classmethod
    def load(cls, spec: ModelSpec, weights: Path | None = None, device: str = "cpu") -> "Predictor":
        """From a weights file, the shipped one when None. Raises WeightsMissing when it cannot be loaded."""
        manifest = read_manifest(weights or spec.weights_path)
        network = load_network(spec, weights).for_inference()
        version = str(manifest.get("version", SHIPPED_VERSION))
        verbatim = manifest.get("verbatim") is True
        return cls(spec, network, float(manifest["threshold"]), version, device, verbatim)

    def warm_up(self) -> None:
        """One empty picture through the network, so that the first user does not wait for it."""
        with torch.inference_mode():
            blank = torch.zeros(1, 3, self.spec.input_size, self.spec.input_size, device=self.device)
            self.network(blank, self._text(None, None))

    def predict(
        self,
        picture: Picture,
        finding: Finding | None,
        bilateral: bool | None = None,
        threshold: float | None = None,
        watch: Stopwatch | None = None,
    ) -> Prediction:
        """Segment what `finding` (patient sides; None: no text) says.

        threshold: probability above which a pixel counts, the model's own when None. A finding that denies
        everything gives an empty mask without asking the network.
        """
        watch = watch or Stopwatch()
        count, height, width = picture.shape
        masks = np.zeros(picture.shape, np.uint8)
        if finding is not None and finding.nothing:
            return Prediction(masks, ("The prompt says that there is nothing: the mask is empty.",))
        finding, warnings = self._usable(picture, finding)
        for start in range(0, count, BATCH):
            part = slice(start, start + BATCH)
            with watch.measure("preprocess"):
                inputs = to_network(picture.part(start, start + BATCH), self.spec.input_size)
            with watch.measure("network"):
                probabilities = self.probabilities(self.encode(inputs), finding, bilateral)
            with watch.measure("postprocess"):
                masks[part] = self.threshold_masks(probabilities, height, width, threshold)
            if start // TOLD < (start + BATCH) // TOLD and start + BATCH < count:
                logger.info("%s: slice %d of %d", self.spec.name, start + BATCH, count)
        return Prediction(masks, warnings)

    @torch.inference_mode()
    def encode(self, inputs: Tensor) -> list[Tensor]:
        """N x 3 x S x S pictures to the features that any prompt can be asked of."""
        return self.network.encode_image(inputs.to(self.device, memory_format=torch.channels_last))

    @torch.inference_mode()
    def probabilities(self, features: list[Tensor], finding: Finding | None, bilateral: bool | None = None) -> Tensor:
        """N x 1 x S x S probabilities of infection as the finding asks; zeros where it denies any."""
        if finding is not None and finding.nothing:
            return torch.zeros(len(features[0]), 1, self.spec.input_size, self.spec.input_size)
        return torch.sigmoid(self.network.segment(features, self._text(finding, bilateral))).cpu()

    def threshold_masks(
        self, probabilities: Tensor, height: int, width: int, threshold: float | None = None
    ) -> np.ndarray:
        """Probabilities to N x H x W uint8 masks on the displayed slices."""
        threshold = self.threshold if threshold is None else threshold
        return (to_display(probabilities, height, width) > threshold).astype(np.uint8)

    def _text(self, finding: Finding | None, bilateral: bool | None) -> Tensor:
        return torch.tensor([eight_numbers(finding, bilateral)], device=self.device)

    def _usable(self, picture: Picture, finding: Finding | None) -> tuple[Finding | None, tuple[str, ...]]:
        """The part of the finding that this model can use on this picture, and what to tell the user."""
        warnings = list(picture.warnings)
        if picture.modality not in self.spec.modalities:
            warnings.append(f"{self.spec.name} has never seen {picture.modality.upper()}: treat this mask as a guess.")
        if picture.modality == CT and finding is not None:
            warnings.append("On CT only the sides of the prompt are used: zones are a radiograph's.")
            finding = finding.without_zones()
        if not picture.sides_known and finding is not None and not finding.anywhere:
            warnings.append("The sides in the prompt mean nothing in this view: infection is looked for anywhere.")
            finding = None
        return finding, tuple(warnings)
