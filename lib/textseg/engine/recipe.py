"""Training recipes as data: what is optimised, how long, with which changes of the samples."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

from textseg.data.augment import AugmentSettings


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    rate: learning rate of all weights, encoder_rate: of the pretrained encoder. schedule: "cosine" (warm-up, then one
    cosine to 2 %) or "restarts" (cosine with restarts every 10 epochs, floor 1e-4). average: decay of the running
    average of the weights, from the second epoch on, that is validated and kept; 0 for none. phantoms: drawn pictures
    added to the training part. loss: weights of the objective's terms. pretrained: start the encoder from ImageNet
    weights. patience: stop after so many epochs without a better validation Dice. first_kept: earlier epochs are never
    kept as the best.
    """

    epochs: int
    batch: int
    rate: float
    encoder_rate: float
    weight_decay: float = 0.0
    clip: float | None = None
    schedule: str = "restarts"
    warm_up: int = 0
    average: float = 0.0
    phantoms: int = 0
    pretrained: bool = False
    patience: int | None = None
    first_kept: int = 1
    loss: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict, for manifests."""
        plain = {item.name: getattr(self, item.name) for item in fields(self)}
        return plain | {"loss": dict(self.loss), "augment": asdict(self.augment)}


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "c2fvl-paper": Recipe(
            epochs=2000,
            batch=4,
            rate=1e-3,
            encoder_rate=1e-3,
            patience=50,
            first_kept=6,
            augment=AugmentSettings(upend=0.5),
        ),
        "compact": Recipe(
            epochs=7,
            batch=16,
            rate=2e-3,
            encoder_rate=4e-4,
            weight_decay=0.02,
            clip=5.0,
            schedule="cosine",
            warm_up=150,
            average=0.998,
            phantoms=300,
            pretrained=True,
            loss=MappingProxyType({"dice": 1.0, "cross_entropy": 0.25, "alignment": 0.25}),
            augment=AugmentSettings(
                rotate=10.0,
                scale=0.15,
                shift=0.06,
                contrast=0.5,
                noise=0.3,
                no_text=0.12,
                partial=0.3,
                coarse=0.15,
            ),
        ),
    }
)
