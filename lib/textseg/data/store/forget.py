"""Erasure: nothing that is kept of a picture remains, but the picture itself."""

import json
import shutil
from pathlib import Path

from textseg.data.picture_ids import check_picture_id
from textseg.data.store.clients import Clients
from textseg.data.store.durable import clear_unfinished, told_of_failure, write_whole
from textseg.data.store.layout import FOLDER
from textseg.data.store.store import Store
from textseg.errors import DataError, PictureNotFound
from textseg.imaging.kinds import is_picture_name, stem_of

OLD_INDEX = "datastore_v2.json"  # of a stock MONAI Label server: it may hold segment names


def forget(studies: Path, image_id: str) -> list[Path]:
    """Erase history, label versions, trash and caches of a picture, beside a running server or without one.

    Returns what was erased. Raises DataError where there are no studies, PictureNotFound for an id that is none or of
    which nothing is kept, StoreError.
    """
    if not studies.is_dir():
        raise DataError(f"There is no folder {studies}. Give the folder that the server was started with.")
    check_picture_id(image_id)
    store = Store(studies)
    if is_picture_name(Path(image_id)) and not store.layout.picture(image_id).exists():
        image_id = stem_of(Path(image_id))  # the file's name was given
    Clients(studies).forget(image_id, str(store.known(image_id).get("pixels_sha256")))
    clear_unfinished(store.layout.unfinished, fresh=True)
    erased = [*store.forget(image_id), *_caches(studies, image_id), *_old_index(studies, image_id)]
    if not erased and not _is_there(studies, image_id):
        raise PictureNotFound(f"Nothing is kept of {image_id}, and there is no such picture. Check the name.")
    return erased


def _caches(studies: Path, image_id: str) -> list[Path]:
    delivered = studies / FOLDER / "delivered"
    made = [path for path in delivered.iterdir() if _is_called(path, image_id)] if delivered.is_dir() else []
    scores = studies / FOLDER / "scores" / f"{image_id}.json"
    with told_of_failure("the erasure"):
        for path in made:
            shutil.rmtree(path)
        if scores.is_file():
            scores.unlink()
            made.append(scores)
    return made


def _old_index(studies: Path, image_id: str) -> list[Path]:
    """Empties the picture's entry in the index of a stock server, where there is one."""
    path = studies / OLD_INDEX
    try:
        index = json.loads(path.read_bytes())
        entry = index["objects"].pop(image_id)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    if entry:
        with told_of_failure("the erasure"):
            write_whole(path, json.dumps(index, indent=2).encode(), studies / FOLDER / "unfinished")
    return [path]


def _is_there(studies: Path, image_id: str) -> bool:
    return any(_is_called(path, image_id) for path in studies.iterdir())


def _is_called(path: Path, image_id: str) -> bool:
    return path.name == image_id or (is_picture_name(path) and stem_of(path) == image_id)
