"""Training recipes as data: what is optimised, how long, with which changes of the samples."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from textseg.data.augment import AugmentSettings
from textseg.errors import OptionError
from textseg.registry import ModelSpec


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    batch: pictures at a time, of all processes together. accumulate: batches of a step of the optimizer.
    rate: learning rate of all weights, encoder_rate: of the pretrained encoder. schedule: "cosine" (warm-up of so
    many steps, then one cosine to `floor` times the rate, reached after `period` epochs or at the end), "restarts" (a
    cosine to `floor` every 10 epochs) or "decay" (0.99 times as much each epoch, down to `floor`). average: decay
    of the running average of the weights, from the second epoch on, that is validated and kept; 0 for none.
    phantoms: drawn pictures added to the training part. loss: weights of the objective's terms. pretrained: start
    the encoder from ImageNet weights, or, encoder_from, from another model's shipped weights. patience: stop after so
    many epochs without a better validation Dice. first_kept: earlier epochs are never kept as the best. mixed: half
    precision where a GPU computes.
    """

    epochs: int
    batch: int
    rate: float
    encoder_rate: float
    accumulate: int = 1
    weight_decay: float = 0.0
    clip: float | None = None
    schedule: str = "restarts"
    warm_up: int = 0
    floor: float = 0.02
    period: int | None = None
    average: float = 0.0
    phantoms: int = 0
    pretrained: bool = False
    encoder_from: str = ""
    patience: int | None = None
    first_kept: int = 1
    mixed: bool = True
    loss: Mapping[str, float | bool] = field(default_factory=lambda: MappingProxyType({}))
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    @property
    def step(self) -> int:
        """Pictures of a step of the optimizer."""
        return self.batch * self.accumulate

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict, for manifests."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return plain | {"loss": dict(self.loss), "augment": asdict(self.augment)}


def recipe_of(spec: ModelSpec, name: str | None = None) -> Recipe:
    """A recipe of a model, its default one when None. Raises OptionError with the names that exist."""
    name = name or spec.default_recipe
    if name not in spec.recipes:
        raise OptionError(f"{spec.name} has no recipe {name!r}. It has: {', '.join(spec.recipes)}.")
    chosen = dict(spec.recipes[name])
    augment = AugmentSettings(**chosen.pop("augment", {}))
    return Recipe(augment=augment, **chosen)
