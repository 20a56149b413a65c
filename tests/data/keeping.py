"""What the tests of the store share: small true label files, prompts, and a folder's content for comparison."""

import os
import random
import time
from pathlib import Path
from typing import Any

from textseg.data.store.durable import iso_time
from textseg.data.store.history import TYPED, PromptEntry
from textseg.data.store.labels import PERSON, LabelVersion
from textseg.data.store.layout import Layout
from textseg.data.store.store import Store

NRRD_HEAD = "NRRD0004\ntype: uint8\ndimension: 3\nsizes: {width} 1 1\nencoding: raw\n\n"
MHA_HEAD = "ObjectType = Image\nNDims = 3\nBinaryData = True\nDimSize = {width} 1 1\nElementType = MET_UCHAR\n"
HEADS = {".nrrd": NRRD_HEAD, ".mha": MHA_HEAD + "ElementDataFile = LOCAL\n"}
WORKING = ("locks", "unfinished")  # of the store: what may change when nothing is kept


def nrrd(values: bytes, suffix: str = ".nrrd") -> bytes:
    """A label file of one row of voxels, as NRRD or MetaImage."""
    return HEADS[suffix].format(width=len(values)).encode() + values


def random_label(rng: random.Random, longest: int, suffix: str = ".nrrd") -> bytes:
    """A label file that no other is like."""
    return nrrd(rng.randbytes(rng.randint(16, longest)), suffix)


def entry(prompt: str, source: str = TYPED, **more: Any) -> PromptEntry:
    """A line of the history."""
    return PromptEntry(iso_time(), prompt, source, **more)


def save(store: Store, image_id: str, data: bytes, tag: str = "final", **about: Any) -> LabelVersion:
    """A label as a person submits it, or as `about` says."""
    return store.save_label(image_id, tag, data, **{"suffix": ".nrrd", "by": PERSON, "time": iso_time(), **about})


def put_by_hand(studies: Path, name: str, data: bytes, tag: str = "final", age: float = 0) -> Path:
    """A file in the folder of labels that did not come through the store, last changed `age` seconds ago."""
    path = Layout(studies).shown(tag) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    changed = time.time_ns() - int(age * 1e9)
    os.utime(path, ns=(changed, changed))  # finer than the clock of the file system: never the time of a save before
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """Path below the folder -> content, of all that is kept; of a link: where it leads."""
    kept = [path for path in sorted(folder.rglob("*")) if path.parent.name not in WORKING]
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in kept
        if path.is_symlink() or path.is_file()
    }


def label_bytes(store: Store, image_id: str, tag: str = "final") -> list[bytes]:
    """What every version of a label holds, the oldest first."""
    return [store.label_path(image_id, tag, version).read_bytes() for version in store.label_versions(image_id, tag)]


def shown_files(studies: Path, image_id: str, tag: str = "final") -> dict[str, bytes]:
    """The files that show a picture's label, by name."""
    folder = Layout(studies).shown(tag)
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.name.startswith(f"{image_id}.")}


def opened(studies: Path, *image_ids: str) -> Store:
    """The store as a server that starts now has it."""
    store = Store(studies)
    store.shown.scan(set(image_ids))
    return store
