"""A candidate on the disk, as the version that it becomes: weights, manifest and the gate's report. Needs torch."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from textseg.data.seen import SUFFIX, Seen
from textseg.data.store.durable import sync_folder
from textseg.engine.weights import load_stored, save_weights
from textseg.errors import VersionError, WeightsMissing
from textseg.learning.checks import check_finite
from textseg.learning.shelf import GATE
from textseg.registry import ModelSpec


def write_candidate(
    path: Path,
    spec: ModelSpec,
    network: nn.Module | Mapping[str, Tensor],
    manifest: dict[str, Any],
    report: dict[str, Any],
    pretrained: Path | None,
    seen: Seen | None = None,
) -> None:
    """Write the files, the weights at `path`, so that they outlive a power cut; the weights can be served.

    Raises VersionError when they cannot: they hold NaN, or do not fit the model; OSError.
    """
    save_weights(network, path, manifest)
    try:
        check_finite(path)
        load_stored(spec, path, pretrained)
    except WeightsMissing as error:
        raise VersionError(f"The new weights of {spec.name} are not published. {error}") from error
    if seen is not None:
        seen.write(path.with_suffix(SUFFIX))
    (path.parent / GATE).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for file in path.parent.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    sync_folder(path.parent)
