"""A network that trains in milliseconds, pictures for it, and what tests read out of its trainings."""

from dataclasses import replace
from pathlib import Path

import torch
from monai.utils import set_determinism
from torch import Tensor, nn

from textseg.data.augment import Sample
from textseg.engine.recipe import Recipe, recipe_of
from textseg.engine.samples import draw_samples
from textseg.engine.trainer import Trained, train
from textseg.networks.c2fvl_objective import C2FVLOutput
from textseg.registry import MODELS

SPEC = MODELS["c2fvl-compact"]
SEED = 3
# Of the objective the term alone that is a mean over pictures.
RECIPE = replace(
    recipe_of(SPEC),
    epochs=1,
    batch=4,
    rate=1e-3,
    encoder_rate=1e-3,
    schedule="decay",
    warm_up=0,
    average=0.0,
    clip=None,
    pretrained=False,
    loss={"dice": 1.0, "cross_entropy": 0.0, "alignment": 0.0},
)


class Tiny(nn.Module):
    """Two convolutions and the eight numbers of the text; a norm between them where one is asked for.

    most: with more pictures at a time memory does not suffice. frozen: the norm stays in evaluation mode. passes: how
    many pictures each pass had, in training.
    """

    def __init__(self, most: int = 10**9, norm: bool = False, frozen: bool = False) -> None:
        super().__init__()
        self.text_encoder, self.most, self.passes = None, most, []
        self.encoder = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4) if norm else nn.Identity()
        if frozen:
            self.norm.eval().train = lambda mode=True: self.norm
        self.words = nn.Linear(8, 4)
        self.head = nn.Conv2d(4, 1, 3, padding=1)
        nn.init.constant_(self.head.bias, 0.2)  # so that it marks something

    def forward(self, image: Tensor, text: Tensor) -> Tensor | C2FVLOutput:
        if len(image) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        logits = self.head(self.norm(self.encoder(image)) * self.words(text)[:, :, None, None])
        if not self.training:
            return logits
        self.passes.append(len(image))
        return C2FVLOutput(logits, (logits, logits))


def tiny(**settings: object) -> Tiny:
    """The same random weights every time."""
    set_determinism(SEED)
    return Tiny(**settings)


def pictures(count: int) -> list[Sample]:
    """Drawn ones, 32 x 32."""
    return draw_samples(count, SEED, 32)


def run(network: nn.Module, recipe: Recipe, samples: list[Sample], folder: Path, **options: object) -> Trained:
    """Train on the samples; the first two are the validation too."""
    options = {"validation": samples[:2], "workers": 0, **options}
    return train(SPEC, network, recipe, samples, folder=folder, seed=SEED, **options)


def newest_checkpoint(folder: Path) -> dict:
    """What a training left to go on from."""
    return torch.load(max(folder.glob("resume*.pt"), key=lambda path: path.stat().st_mtime), weights_only=True)


def gradients(folder: Path) -> list[Tensor]:
    """Of every weight, after a training of a single step: Adam's running mean is a tenth of it."""
    state = newest_checkpoint(folder)["optimizer"]["state"]
    return [state[number]["exp_avg"] * 10 for number in sorted(state)]
