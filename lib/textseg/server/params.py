"""The JSON of a request, as a viewer or a script sends it: an object, or a sentence that says what is wrong."""

import json
from typing import Any, NoReturn

from textseg.errors import OptionError

MAX_PARAMS = 1 << 20  # letters


def read_params(text: str, name: str = "params") -> dict[str, Any]:
    """A JSON object. Raises OptionError for anything else, and for values that could not be sent back as JSON."""
    if len(text) > MAX_PARAMS:
        raise OptionError(f"{name} has {len(text)} letters; {MAX_PARAMS} is the limit. Send less.")
    try:
        content = json.loads(text or "{}", parse_constant=_no_number)
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except RecursionError as error:
        raise OptionError(f"{name} is nested too deeply. Send a plain JSON object.") from error
    except ValueError as error:
        raise OptionError(
            f'{name} is no JSON that can be used ({error}). Send an object, like {{"prompt": ""}}.'
        ) from error
    if not isinstance(content, dict):
        raise OptionError(f'{name} is a JSON object, like {{"prompt": ""}}, not a {type(content).__name__}.')
    return content


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")
