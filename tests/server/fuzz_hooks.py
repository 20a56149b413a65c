"""Loaded by Schemathesis, in its own environment: what it makes up is bent so that more of it gets past the door.

All is chosen by what stands there, so that a seed stays repeatable.
"""

import os
import zlib
from pathlib import Path
from typing import Any

import schemathesis
from schemathesis import HookContext

FOLDER = Path(os.environ["TEXTSEG_FUZZ_FILES"])
FILES = [path.read_bytes() for path in sorted(FOLDER.iterdir())]
LABEL = (FOLDER / "label.png").read_bytes()
FIELDS = ("file", "label")


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: Any) -> Any:
    """Three of four without control characters, which are refused whatever else is asked."""
    return _printable(path_parameters) if _chance(path_parameters) % 4 else path_parameters


@schemathesis.hook
def map_query(context: HookContext, query: Any) -> Any:
    """As in the path. Without a session, `image` says what to infer."""
    if not isinstance(query, dict) or _chance(query) % 4 == 0:
        return query
    if context.operation.path.startswith("/infer/"):
        query = {name: value for name, value in query.items() if name not in ("session_id", "token")}
    return _printable(query)


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Real files, whole and cut off, in place of half the made-up ones; none in three of four requests to infer."""
    if not isinstance(body, dict):
        return body
    chance = _chance(body)
    if context.operation.path.startswith("/infer/") and chance % 4:
        return {name: value for name, value in body.items() if name not in FIELDS}
    real = FILES[chance // 4 % len(FILES)]
    if chance % 2:
        return body
    changed = {"file": real, "label": LABEL if chance // 4 % 3 else real, "files": [real] * (1 + chance // 64 % 2)}
    return {name: changed.get(name, value) for name, value in body.items()}


def _chance(values: Any) -> int:
    return zlib.crc32(repr(values).encode(errors="replace"))


def _printable(values: Any) -> Any:
    if isinstance(values, dict):
        return {_printable(name): _printable(value) for name, value in values.items()}
    return "".join(filter(str.isprintable, values)) if type(values) is str else values
