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


def reads_words(options: argparse.Namespace) -> bool:
    """Whether the model reads the words as they stand; only weights that somebody trained so do."""
    from textseg.engine.ready import stored_manifest
    from textseg.engine.weights import reads_verbatim

    return reads_verbatim(stored_manifest(model_spec(options.model), options.weights))


def print_json(report: Any) -> None:
    """A report and nothing else on stdout."""
    print(json.dumps(report, indent=2))
