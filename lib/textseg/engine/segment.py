"""One picture and what is said of it -> its mask, and what is told of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from textseg.engine.predictor import Prediction, Predictor
from textseg.engine.texts import Said
from textseg.imaging.picture import Picture
from textseg.text.prompt import Reading
from textseg.text.sentence import canonical


@dataclass(frozen=True)
class Segmented:
    """What a model made of a picture. reading: None without a prompt."""

    predictor: Predictor
    picture: Picture
    reading: Reading | None
    prediction: Prediction

    @property
    def masks(self) -> np.ndarray:
        """N x H x W of 0 and 1 on the displayed slices."""
        return self.prediction.masks

    @property
    def read_as(self) -> str:
        """What the prompt was read as, for people."""
        said = Said.of(self.reading)
        return canonical(said.finding) or said.words or "no prompt"

    def report(self) -> dict[str, Any]:
        """All that is told of it; JSON-ready."""
        said = Said.of(self.reading)
        return {
            "pixels": int(self.masks.sum()),
            "reads": self.predictor.reads,
            "words": said.words,
            "canonical": canonical(said.finding),
            "finding": said.finding.to_json() if said.finding else None,
            "warnings": [*(self.reading.warnings if self.reading else ()), *self.prediction.warnings],
            "model_name": self.predictor.spec.name,
            "model_version": self.predictor.version,
        }


def segment(predictor: Predictor, picture: Picture, reading: Reading | None) -> Segmented:
    """Segment what was read of a prompt; None: infection anywhere."""
    return Segmented(predictor, picture, reading, predictor.predict(picture, Said.of(reading)))
