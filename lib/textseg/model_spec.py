"""What the registry tells of a model. Pure data: imports neither torch nor anything slow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

WEIGHTS_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Published:
    """A network's size and cost as told elsewhere, with units. note: how they were counted, a sentence or two."""

    weights: str
    multiply_adds: str
    note: str


@dataclass(frozen=True)
class ModelSpec:
    """One model: which network, at which settings, trained how.

    network: module of `networks`; settings: its network's keyword arguments. text_encoder: what it reads by, "compact"
    or a pretrained one of `engine.pretrained`; None for a network that reads eight numbers. text_settings: its keyword
    arguments. needs: further pretrained
    weights that training starts from. recipes: keyword arguments of `engine.recipe.Recipe` by name, the first is the
    default. parameters: values that training changes, checked by the tests. input_size: side of the square network
    input in pixels. modalities: what its weights have been trained on. published: None where no figures are known.
    """

    name: str
    title: str
    paper: str
    network: str
    recipes: Mapping[str, Mapping[str, Any]]
    parameters: int
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    text_encoder: str | None = None
    text_settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    needs: tuple[str, ...] = ()
    input_size: int = 224
    modalities: tuple[str, ...] = ("xray",)
    published: Published | None = None

    @property
    def weights_path(self) -> Path:
        """Where the shipped weights lie; the manifest has the same stem and the suffix .json."""
        return WEIGHTS_FOLDER / f"{self.name}.safetensors"

    @property
    def has_weights(self) -> bool:
        """True when weights and manifest are both there."""
        return self.weights_path.is_file() and self.weights_path.with_suffix(".json").is_file()

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Names of the pretrained weights that it is built on and that do not come with it: `textseg fetch`."""
        return tuple(name for name in (self.text_encoder, *self.needs) if name not in (None, "compact"))

    @property
    def remedy(self) -> str:
        """What to do where it has no weights."""
        fetch = (
            f"fetch what it starts from (textseg fetch {' '.join(self.pretrained)}), then " if self.pretrained else ""
        )
        return f"{fetch}train it (textseg train {self.name} --data FOLDER)"

    @property
    def default_recipe(self) -> str:
        """The name of the recipe that `textseg train` takes."""
        return next(iter(self.recipes))
