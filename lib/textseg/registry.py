"""The only list of models in the project. Pure data: imports neither torch nor anything slow.

Server, command line, tests and documents all read MODELS, so that they cannot drift apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from textseg.errors import UnknownModel, WeightsMissing

WEIGHTS_FOLDER = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ModelSpec:
    """One model: which network, at which settings, trained how.

    network: key of `networks.NETWORKS`; settings: its keyword arguments. input_size: side of the square network
    input in pixels. recipe: key of `engine.recipe.RECIPES`. modalities: what its weights have been trained on.
    parameters: trainable values, checked by the tests.
    """

    name: str
    title: str
    paper: str
    network: str
    recipe: str
    parameters: int
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    input_size: int = 224
    modalities: tuple[str, ...] = ("xray",)

    @property
    def weights_path(self) -> Path:
        """Where the shipped weights lie; the manifest has the same stem and the suffix .json."""
        return WEIGHTS_FOLDER / f"{self.name}.safetensors"

    @property
    def has_weights(self) -> bool:
        """True when weights and manifest are both there."""
        return self.weights_path.is_file() and self.weights_path.with_suffix(".json").is_file()


_C2FVL_PAPER = "Shan et al., Coarse-to-Fine Covid-19 Segmentation via Vision-Language Alignment, ICASSP 2023"

MODELS: Mapping[str, ModelSpec] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            ModelSpec(
                name="c2fvl-compact",
                title="C2FVL on EfficientNet-Lite0, small enough for two CPU cores",
                paper=_C2FVL_PAPER,
                network="c2fvl",
                recipe="compact",
                parameters=3_788_376,
                settings=MappingProxyType({"width": 16, "encoder": "tf_efficientnet_lite0"}),
            ),
            ModelSpec(
                name="c2fvl",
                title="C2FVL as published",
                paper=_C2FVL_PAPER,
                network="c2fvl",
                recipe="c2fvl-paper",
                parameters=24_196_088,
            ),
        )
    }
)

# The best on the validation rows (mean Dice per image, right text) among the models with shipped weights.
DEFAULT_MODEL = "c2fvl-compact"


def model_spec(name: object) -> ModelSpec:
    """The model of that name. Raises UnknownModel with the names that exist."""
    if not isinstance(name, str) or name not in MODELS:
        raise UnknownModel(f"There is no model {str(name)[:80]!r}. Known models: {', '.join(MODELS)}.")
    return MODELS[name]


def served_models(choice: str | None) -> list[ModelSpec]:
    """The models a server offers: None gives the default one, "all" every one with weights, else the names listed.

    Raises UnknownModel, or WeightsMissing for a named model without weights.
    """
    if not choice:
        return [require_weights(model_spec(DEFAULT_MODEL))]
    if choice == "all":
        return [spec for spec in MODELS.values() if spec.has_weights]
    return [require_weights(model_spec(name.strip())) for name in choice.split(",") if name.strip()]


def require_weights(spec: ModelSpec) -> ModelSpec:
    """The spec itself, if its weights are here; else WeightsMissing."""
    if not spec.has_weights:
        shipped = [other.name for other in MODELS.values() if other.has_weights]
        raise WeightsMissing(
            f"The model {spec.name} has no weights here. Train them with `textseg train {spec.name}`, "
            f"or use a model that has: {', '.join(shipped) or 'none'}."
        )
    return spec
