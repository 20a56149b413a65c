"""A server's learning in small: a folder of versions, few drawn corrections, short trainings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from textseg.data.phantoms import draw_radiograph
from textseg.data.store.labels import LabelledSegment
from textseg.imaging.identity import pixels_sha256
from textseg.imaging.read import read_picture
from textseg.learning.corrections import Labelled, gather
from textseg.learning.holdout import HoldOut
from textseg.learning.retrain import Outcome, Retraining, retrain
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, MODELS
from textseg.text.sentence import canonical

SPEC = MODELS[DEFAULT_MODEL]
PLACES = (
    {"left": ("lower",), "right": ("upper",)},
    {"right": ("lower",)},
    {"left": ("middle", "lower"), "right": ("lower",)},
    {"left": ("upper",)},
    {"left": ("lower",), "right": ("lower",)},
    {"right": ("middle",)},
)
Spoil = Callable[[np.ndarray], np.ndarray]


def labelled(folder: Path, number: int, spoil: Spoil = lambda mask: mask, prompt: str | None = None) -> Labelled:
    """A drawn picture with its exact mask, changed by `spoil`. prompt: what was asked; what is drawn when None."""
    phantom = draw_radiograph(PLACES[number % len(PLACES)], 500 + number, 200)
    image, label = folder / f"p{number}.png", folder / f"p{number}_label.png"
    Image.fromarray(phantom.image).save(image)
    Image.fromarray(spoil(phantom.mask).astype(np.uint8)).save(label)
    said = canonical(phantom.finding) if prompt is None else prompt
    segment = LabelledSegment((1,), ("infection",), "run", said)
    return Labelled(f"p{number}", image, label, (segment,), pixels_sha256(read_picture(image)))


class Learning:
    """The folders of one server, and one retraining of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.studies = folder / "studies"
        self.studies.mkdir()
        self.versions = Versions(folder / "model" / SPEC.name, SPEC)

    def retrained(self, given: list[Labelled], **changed: object) -> Outcome:
        """One short retraining on these labels."""
        wanted = {"epochs": 1, **changed}
        task = Retraining(SPEC, self.versions, HoldOut(self.studies), self.folder / "runs", **wanted)
        return retrain(task, gather(given, SPEC.name))
