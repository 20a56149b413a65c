"""Which models a server offers and where their weights lie: settings `models`, `weights`, `pretrained`; versions."""

import logging
from collections.abc import Mapping
from pathlib import Path

from textseg.errors import OptionError, WeightsMissing
from textseg.learning.current import CurrentPredictor
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, MODELS, ModelSpec, model_spec

ALL = "all"
logger = logging.getLogger(__name__)


def served_predictors(conf: Mapping[str, str], app: Path) -> list[CurrentPredictor]:
    """The models to offer, loaded and warmed up. app: the app's folder.

    models: names, or "all" for every one that is ready (what the others lack is logged); without it, those whose
    weights lie in the folder `weights`, else the default one. Weights of that folder stand in for shipped ones; what
    was learnt here goes before both. Raises UnknownModel, OptionError for a folder that is none, WeightsMissing for a
    model that is named and not ready.
    """
    names = [name.strip() for name in (conf.get("models") or "").split(",") if name.strip()]
    if names == [ALL]:
        return _those_ready(conf, app)
    named = dict.fromkeys(names or _own_weights(conf) or [DEFAULT_MODEL])
    return [CurrentPredictor(model_versions(model_spec(name), conf, app)) for name in named]


def model_versions(spec: ModelSpec, conf: Mapping[str, str], app: Path) -> Versions:
    """The versions of a model on a server with these settings. Raises OptionError for a folder that is none."""
    return Versions(app / "model" / spec.name, spec, _own_weights(conf).get(spec.name), _folder(conf, "pretrained"))


def _those_ready(conf: Mapping[str, str], app: Path) -> list[CurrentPredictor]:
    ready = []
    for spec in MODELS.values():
        try:
            ready.append(CurrentPredictor(model_versions(spec, conf, app)))
        except WeightsMissing as error:
            logger.warning("%s is not served: %s", spec.name, error)
    if not ready:
        raise WeightsMissing("No model is ready: the log says what each of them lacks, and so does textseg info.")
    return ready


def _own_weights(conf: Mapping[str, str]) -> dict[str, Path]:
    """Model -> its weights file in the folder `weights`. Raises OptionError for a folder that is none or holds none."""
    folder = _folder(conf, "weights")
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
