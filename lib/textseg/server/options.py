"""What a client may set in a request, and what it gets back resolved.

Slicer sends every option of the table, drop-downs as their chosen string; OHIF only what was changed; a client that
echoes /info sends lists and nulls. All three arrive here as one InferOptions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from textseg.errors import OptionError
from textseg.imaging.picture import MODALITIES
from textseg.imaging.read import AUTO
from textseg.imaging.write import MASK_SUFFIXES, MASK_TYPES
from textseg.text.hints import shown
from textseg.text.presets import PRESETS
from textseg.text.prompt import LATERALITIES, check_laterality

DEFAULT_SUFFIX = ".nrrd"


@dataclass(frozen=True)
class InferOptions:
    """One request's options, checked. prompt and preset are as sent; "" when there is none."""

    prompt: object
    preset: object
    laterality: str
    modality: str
    threshold: float
    suffix: str
    dtype: str
    compress: bool


def infer_config(threshold: float) -> dict[str, Any]:
    """The options as /info shows them, the prompt first; drop-downs are lists whose first entry is the default."""
    return {
        "prompt": "",
        "preset": ["", *PRESETS],
        "laterality": list(LATERALITIES),
        "modality": [AUTO, *MODALITIES],
        "threshold": threshold,
    }


def read_options(request: Mapping[str, Any], threshold: float) -> InferOptions:
    """A request's options; a list stands for its first entry, null or nothing for the default.

    threshold: the model's own, the default. Raises OptionError naming the option and what it takes.
    """
    return InferOptions(
        prompt=_resolved(request, "prompt", ""),
        preset=_resolved(request, "preset", ""),
        laterality=check_laterality(_resolved(request, "laterality", LATERALITIES[0]) or LATERALITIES[0]),
        modality=_one_of("modality", _resolved(request, "modality", AUTO) or AUTO, (AUTO, *MODALITIES)),
        threshold=_threshold(_resolved(request, "threshold", threshold)),
        suffix=_one_of("result_extension", _resolved(request, "result_extension", DEFAULT_SUFFIX), MASK_SUFFIXES),
        dtype=_one_of("result_dtype", _resolved(request, "result_dtype", "uint8"), tuple(MASK_TYPES)),
        compress=_flag("result_compress", _resolved(request, "result_compress", True)),
    )


def _resolved(request: Mapping[str, Any], key: str, default: object) -> Any:
    value = request.get(key)
    if isinstance(value, list):
        value = value[0] if value else None
    return default if value is None else value


def _threshold(value: object) -> float:
    try:
        number = float(value) if not isinstance(value, bool) else -1.0
    except (TypeError, ValueError):
        number = -1.0
    if not 0 < number < 1:
        raise OptionError(f"threshold is a number between 0 and 1, such as 0.5, not {shown(value)}.")
    return number


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise OptionError(f"{name} is one of {', '.join(allowed)}, not {shown(value)}.")
    return value


def _flag(name: str, value: object) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise OptionError(f"{name} is true or false, not {shown(value)}.")
    return value
