"""What several commands need."""

import argparse
import json
from typing import Any

from textseg.registry import model_spec


def predictor_of(options: argparse.Namespace) -> Any:
    """The predictor of --model, --weights and --pretrained. Raises UnknownModel, WeightsMissing."""
    spec = model_spec(options.model)
    from textseg.engine.predictor import Predictor

    return Predictor.load(spec, options.weights, pretrained=options.pretrained)


def sides_of_words(options: argparse.Namespace) -> str | None:
    """Whose sides the words speak of that the model reads as they stand; only weights that somebody trained do so."""
    from textseg.engine.ready import stored_manifest
    from textseg.engine.weights import spoken_sides

    return spoken_sides(stored_manifest(model_spec(options.model), options.weights))


def print_json(report: Any) -> None:
    """A report and nothing else on stdout."""
    print(json.dumps(report, indent=2))
