"""What the tests of versions share: a network's state, manifests and reports, damage to a version's files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from textseg.engine.ready import read_manifest, sha256_of
from textseg.engine.weights import write_manifest
from textseg.learning.versions import Served, Versions
from textseg.registry import MODELS

SPEC = MODELS["c2fvl-compact"]
MANIFEST = {"name": SPEC.name, "network": SPEC.network, "settings": dict(SPEC.settings), "threshold": 0.4}
State = dict[str, Tensor]


def report(sentence: str, **more: Any) -> dict[str, Any]:
    """The gate's, as far as versions look into it."""
    return {"verdict": sentence, **more}


def weights_of(folder: Path, version: str) -> Path:
    """The weights file of a version."""
    return folder / version / f"{SPEC.name}.safetensors"


def whole(versions: Versions) -> Served:
    """What serves; asserts that nothing else should."""
    served = versions.served()
    assert served.told == ()
    return served


def _rewrite(path: Path, change: Callable[[State], State]) -> None:
    """Other weights under a manifest that fits them."""
    manifest = read_manifest(path)
    save_file(change(load_file(path)), path)
    write_manifest(path, {**manifest, "sha256": sha256_of(path)})


def _one_nan(state: State) -> State:
    name = next(name for name, value in state.items() if value.is_floating_point())
    state[name].view(-1)[-1] = torch.nan
    return state


def _change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _remove_folder(path: Path) -> None:
    for file in path.parent.iterdir():
        file.unlink()
    path.parent.rmdir()


def _other_settings(path: Path) -> None:
    write_manifest(path, {**read_manifest(path), "settings": {**SPEC.settings, "width": 8}})


# What can happen to a version's files -> what is said of it.
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:1_000_000]), "is not the file that its manifest"),
    "empty": (lambda path: path.write_bytes(b""), "is not the file that its manifest"),
    "a changed byte": (_change_byte, "is not the file that its manifest"),
    "NaN": (lambda path: _rewrite(path, _one_nan), "holds NaN or infinity"),
    "no weights": (lambda path: path.unlink(), "There is no weights file"),
    "no manifest": (lambda path: path.with_suffix(".json").unlink(), "missing or damaged"),
    "half a manifest": (lambda path: path.with_suffix(".json").write_text('{"threshold": 0.5, "sha'), "or damaged"),
    "no folder": (_remove_folder, "There is no weights file"),
    "other settings": (_other_settings, "width 8, here 16"),
}


def leave_one_tensor(path: Path) -> None:
    """Weights of another network, as their manifest says: only loading them tells."""
    _rewrite(path, lambda state: dict([next(iter(state.items()))]))


def pointer_of(folder: Path) -> dict[str, Any]:
    """What says which version serves."""
    return json.loads((folder / "served.json").read_text())


def files_of(folder: Path) -> dict[str, bytes]:
    """Path -> content of all that is kept."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
