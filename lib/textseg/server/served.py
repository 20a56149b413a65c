"""Which models a server offers and where their weights lie: the settings `models`, `weights` and `pretrained`."""

import logging
from collections.abc import Mapping
from pathlib import Path

from textseg.engine.predictor import Predictor
from textseg.errors import OptionError, WeightsMissing
from textseg.registry import DEFAULT_MODEL, MODELS, ModelSpec, model_spec

ALL = "all"
logger = logging.getLogger(__name__)


def served_predictors(conf: Mapping[str, str]) -> list[Predictor]:
    """The models to offer, loaded and warmed up.

    models: names, or "all" for every one that is ready (what the others lack is logged); without it, those whose
    weights lie in the folder `weights`, else the default one. Weights of that folder stand in for shipped ones. Raises
    UnknownModel, OptionError for a folder that is none, WeightsMissing for a model that is named and not ready.
    """
    own, pretrained = _own_weights(_folder(conf, "weights")), _folder(conf, "pretrained")
    names = [name.strip() for name in (conf.get("models") or "").split(",") if name.strip()]
    if names == [ALL]:
        return _those_ready(own, pretrained)
    return [_loaded(model_spec(name), own, pretrained) for name in dict.fromkeys(names or own or [DEFAULT_MODEL])]


def _those_ready(own: Mapping[str, Path], pretrained: Path | None) -> list[Predictor]:
    ready = []
    for spec in MODELS.values():
        try:
            ready.append(_loaded(spec, own, pretrained))
        except WeightsMissing as error:
            logger.warning("%s is not served: %s", spec.name, error)
    if not ready:
        raise WeightsMissing("No model is ready: the log says what each of them lacks, and so does textseg info.")
    return ready


def _loaded(spec: ModelSpec, own: Mapping[str, Path], pretrained: Path | None) -> Predictor:
    path = own.get(spec.name)
    predictor = Predictor.load(spec, path, pretrained=pretrained)
    predictor.warm_up()
    logger.info("%s is served, by %s", spec.name, path or "the weights that come with textseg")
    return predictor


def _own_weights(folder: Path | None) -> dict[str, Path]:
    """Model -> its weights file in the folder. Raises OptionError for a folder that holds none."""
    paths = {name: folder / f"{name}.safetensors" for name in MODELS} if folder else {}
    found = {name: path for name, path in paths.items() if path.is_file()}
    if folder and not found:
        raise OptionError(
            f"--conf weights {folder}: it holds no weights of a model. Name a folder that textseg train wrote, with "
            "MODEL.safetensors and MODEL.json."
        )
    return found


def _folder(conf: Mapping[str, str], key: str) -> Path | None:
    if not conf.get(key):
        return None
    folder = Path(conf[key]).expanduser()
    if not folder.is_dir():
        raise OptionError(f"--conf {key} {folder}: there is no such folder. Name another, or leave the setting away.")
    return folder
