"""A model whose answers are known: tests say by a rule what its network draws."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from textseg.engine.predictor import Predictor
from textseg.imaging.picture import Picture
from textseg.imaging.read import read_picture
from textseg.registry import MODELS

SIZE = 32
Rule = Callable[[np.ndarray, tuple[float, ...]], np.ndarray]  # picture S x S and the eight numbers -> S x S logits


class Drawn(torch.nn.Module):
    """Draws by a rule; counts its passes."""

    text_encoder = None

    def __init__(self, rule: Rule) -> None:
        super().__init__()
        self.rule, self.passes = rule, 0

    def encode_image(self, image: torch.Tensor) -> list[torch.Tensor]:
        self.passes += 1
        return [image[:, :1], torch.cat([image.mean((2, 3), keepdim=True), 1 - image[..., :1, :1]], 1)]

    def encode_prompt(self, text: torch.Tensor) -> torch.Tensor:
        return text

    def segment(self, features: list[torch.Tensor], text: torch.Tensor) -> torch.Tensor:
        self.passes += 1
        drawn = self.rule(features[0][0, 0].numpy(), tuple(text[0].tolist()))
        return torch.from_numpy(np.asarray(drawn, np.float32))[None, None]


def stand_in(rule: Rule, threshold: float = 0.5) -> Predictor:
    """A predictor that draws by the rule."""
    predictor = Predictor(replace(MODELS["c2fvl-compact"], input_size=SIZE), Drawn(rule), threshold, "v0000", "cpu")
    predictor.weights_sha256 = "0" * 64
    return predictor


def flat(folder: Path, grey: int = 100, name: str = "flat", size: int = SIZE) -> Picture:
    """A picture of one grey value but for a bright spot on its left."""
    pixels = np.full((size, size), grey, np.uint8)
    pixels[8:16, 4:10] = 250
    Image.fromarray(pixels).save(folder / f"{name}.png")
    return read_picture(folder / f"{name}.png")


def spot(rows: slice, columns: slice, size: int = SIZE) -> np.ndarray:
    """Logits of a rectangle of certainty in certain background."""
    logits = np.full((size, size), -20.0, np.float32)
    logits[rows, columns] = 20.0
    return logits
