"""The house rules that a reader relies on: who imports whom, what a quick start may load, how long a file gets."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "lib" / "textseg"
FILES = sorted(PACKAGE.rglob("*.py"))
APP_FILES = sorted((REPOSITORY / "apps").glob("*/main.py"))

# Part of the package -> the other parts that it may import.
BASE = {"registry", "model_spec", "errors"}
MAY_IMPORT = {
    "": set(),
    "errors": set(),
    "model_spec": set(),
    "registry": {"model_spec", "errors"},
    "text": BASE,
    "imaging": BASE,
    "networks": BASE,
    "data": BASE | {"text", "imaging"},
    "engine": BASE | {"networks", "text", "imaging", "data"},
    "learning": BASE | {"networks", "text", "imaging", "data", "engine"},
    "choosing": BASE | {"text", "imaging", "data", "engine"},
    "server": BASE | {"networks", "text", "imaging", "data", "engine", "learning", "choosing"},
    "cli": BASE | {"commands"},
    "commands": BASE | {"networks", "text", "imaging", "data", "engine", "learning", "choosing", "server"},
    "app": {"server"},
}
# Third-party package -> the only places (paths below the package, without .py) that may import it.
ONLY_IN = {
    "monailabel": ("server",),
    "fastapi": ("server",),
    "timm": ("networks",),
    "transformers": ("text/encoder", "text/clip"),
    "open_clip": ("text/clip",),
    "huggingface_hub": ("engine/fetch",),
}
SLOW = {"torch", "monai", "numpy", "monailabel", "timm", "SimpleITK", "transformers", "huggingface_hub", "open_clip"}


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything that the nodes below `tree` import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def forbidden(source: str, place: str) -> set[str]:
    """Imports in `source` that the file at `place` (path below the package, without .py) may not make."""
    part = place.split("/")[0]
    wrong = set()
    for name in imported(ast.parse(source)):
        top, _, rest = name.partition(".")
        target = rest.split(".")[0]
        strange = top == "textseg" and target in MAY_IMPORT and target != part and target not in MAY_IMPORT[part]
        owners = ONLY_IN.get(top)
        misplaced = owners is not None and not any(f"{place}/".startswith(f"{owner}/") for owner in owners)
        wrong |= {name} if strange or misplaced else set()
    return wrong


def place_of(path: Path) -> str:
    """lib/textseg/text/prompt.py -> text/prompt; the package's own __init__ -> the empty string."""
    return path.relative_to(PACKAGE).with_suffix("").as_posix().removesuffix("__init__").rstrip("/")


def newly_imported(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after `statement`."""
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted({{name.split('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_imports_go_one_way(path):
    assert forbidden(path.read_text(encoding="utf-8"), place_of(path)) == set()


def test_every_part_of_the_package_has_its_place_in_the_order():
    assert {place_of(path).split("/")[0] for path in FILES} <= set(MAY_IMPORT) - {"app"}


def test_the_app_imports_only_the_server():
    assert [path.parent.name for path in APP_FILES] == ["textseg"]
    assert forbidden(APP_FILES[0].read_text(encoding="utf-8"), "app/main") == set()


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("from textseg.engine.losses import C2FVLLoss", "networks/c2fvl"),
        ("def late():\n    import textseg.data.records", "text/prompt"),
        ("from textseg import server", "engine/trainer"),
        ("from textseg.learning.versions import Versions", "engine/fit"),
        ("import monailabel.interfaces", "learning/versions"),
        ("from textseg.networks import build_network", "imaging/read"),
        ("from textseg.registry import MODELS", "errors"),
        ("import monailabel.interfaces", "engine/trainer"),
        ("from textseg.engine.bench import time_reading", "cli"),
        ("from fastapi import APIRouter", "cli"),
        ("import timm", "engine/weights"),
        ("import transformers", "text/prompt"),
        ("from huggingface_hub import hf_hub_download", "text/encoder"),
        ("from textseg.engine import recipe", "app/main"),
    ],
)
def test_a_wrong_import_would_be_found(source, place):
    assert forbidden(source, place)


def test_the_registry_needs_nothing_slow():
    modules = newly_imported("import textseg.registry")
    assert "textseg" in modules
    assert modules & SLOW == set()


def test_the_command_line_starts_without_torch():
    modules = newly_imported("import textseg.cli")
    assert "textseg" in modules
    assert modules & {"torch", "monai", "monailabel"} == set()


def test_a_prediction_needs_neither_what_training_does_nor_what_other_text_encoders_do():
    modules = newly_imported("import textseg.engine.predictor")
    assert "textseg" in modules
    assert modules & {"monai", "ignite", "transformers", "monailabel"} == set()


def test_the_command_line_imports_engine_and_server_only_inside_its_commands():
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (PACKAGE / "commands").glob("*.py")]
    nodes = [node for tree in trees for node in tree.body]
    at_start = {name for node in nodes if not isinstance(node, ast.FunctionDef) for name in imported(node)}
    late = {name for node in nodes if isinstance(node, ast.FunctionDef) for name in imported(node)}
    heavy = ("textseg.engine", "textseg.server", "textseg.networks", "textseg.learning", "textseg.choosing")
    assert [name for name in at_start if name.startswith(heavy)] == []
    assert [name for name in late if name.startswith("textseg.engine")]


@pytest.mark.parametrize("path", FILES, ids=place_of)
def test_files_say_what_they_are_and_stay_short(path):
    source = path.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source))
    assert len(source.splitlines()) <= 250
