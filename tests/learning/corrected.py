"""A server's learning in small: a folder of versions, few drawn corrections, short trainings."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from textseg.data.phantoms import draw_radiograph, random_places
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
TRAIN, VALID, PATIENTS = 26, 4, 13
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


def draw_data(folder: Path) -> Path:
    """Drawn pictures, two of each patient; sentences in picture sides; consolidation/: the upper half of some masks."""
    random = np.random.default_rng(5)
    for name in ("images", "masks", "consolidation"):
        (folder / name).mkdir()
    lines = ["image,prompt,patient,split"]
    for number in range(TRAIN + VALID):
        phantom = draw_radiograph(random_places(random), 900 + number, 96)
        split, patient = ("train", number % PATIENTS) if number < TRAIN else ("valid", number)
        Image.fromarray(phantom.image).save(folder / "images" / f"p{number}.png")
        Image.fromarray(phantom.mask * 255).save(folder / "masks" / f"p{number}.png")
        if number % 2:
            half = phantom.mask * (np.arange(96) < 60)[:, None]
            Image.fromarray(half.astype(np.uint8) * 255).save(folder / "consolidation" / f"p{number}.png")
        lines.append(f'p{number},"{canonical(phantom.finding.mirrored())}",{patient},{split}')
    (folder / "prompts.csv").write_text("\n".join(lines) + "\n")
    return folder
