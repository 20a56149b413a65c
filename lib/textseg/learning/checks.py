"""Whether weights can be served, as far as that can be told without torch; files that did not change are not read."""

from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from textseg.engine.ready import ready_manifest
from textseg.errors import WeightsMissing
from textseg.learning.shelf import Stat, stat_of
from textseg.registry import ModelSpec


class Checks:
    """What is known of a model's weights files. pretrained: folder of pretrained text encoders."""

    def __init__(self, spec: ModelSpec, pretrained: Path | None) -> None:
        self.spec, self.pretrained = spec, pretrained
        self._whole: dict[Path, tuple[tuple[Stat | None, ...], dict[str, Any]]] = {}

    def manifest(self, path: Path | None) -> dict[str, Any]:
        """The manifest of weights that can be served. path: None for the shipped ones.

        Raises WeightsMissing, which says what is wrong: see `ready_manifest`; or they are not all numbers.
        """
        file = path or self.spec.weights_path
        try:
            stats = (stat_of(file), stat_of(file.with_suffix(".json")))
            if file in self._whole and self._whole[file][0] == stats:
                return self._whole[file][1]
            manifest = ready_manifest(self.spec, path, self.pretrained)
            check_finite(file)
        except OSError as error:
            raise WeightsMissing(f"{file} cannot be read: {error.strerror or error}.") from error
        self._whole[file] = stats, manifest
        return manifest

    def fault(self, path: Path | None) -> str | None:
        """None for weights that can be served, else the sentence that says what is wrong."""
        try:
            self.manifest(path)
        except WeightsMissing as error:
            return str(error)
        return None


def check_finite(path: Path) -> None:
    """Raises WeightsMissing for a weights file that holds NaN or infinity, or is none."""
    try:
        with safe_open(path, framework="numpy") as file:
            bad = [key for key in file.keys() if not _finite(file, key)]  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsMissing(f"{path.name} is no weights file. Train or install it again.") from error
    if bad:
        raise WeightsMissing(f"{path.name} holds NaN or infinity (in {bad[0]}). Train or install it again.")


def _finite(file: Any, key: str) -> bool:
    try:
        return bool(np.isfinite(file.get_tensor(key)).all())
    except (TypeError, AttributeError):  # bfloat16 and the like, which numpy does not have and we do not write
        return True
