"""Small pictures for the status page, made when they are asked for and kept. Only files are read: no model runs."""

import hashlib
import threading
from pathlib import Path

import numpy as np
from cachetools import LRUCache

from textseg.data.store.masks import read_mask_file
from textseg.data.store.shown import ORIGINAL
from textseg.errors import TextSegError
from textseg.imaging.labels import read_mask
from textseg.imaging.picture import Picture
from textseg.imaging.read import read_picture
from textseg.imaging.thumbnail import thumbnail
from textseg.learning.shelf import stat_of
from textseg.server.delivery import state_of
from textseg.server.facts import StudiesFacts
from textseg.server.studies import Studies

KEPT = 64


class Thumbnails:
    """Those of one studies folder. facts: tells which mask is shown."""

    def __init__(self, studies: Studies, facts: StudiesFacts) -> None:
        self._studies, self._facts = studies, facts
        self._made: LRUCache[str, bytes] = LRUCache(KEPT)
        self._making = threading.Lock()  # one at a time: a volume takes memory

    def state(self, image_id: str) -> str:
        """What changes when another thumbnail is to be shown. Raises PictureError."""
        picture = state_of(self._studies.picture_path(image_id))  # first: an id that is none names no mask either
        kind, mask = self._facts.mask(image_id)
        return hashlib.sha256(repr((image_id, picture, kind, mask and (mask, stat_of(mask)))).encode()).hexdigest()[:32]

    def png(self, image_id: str) -> bytes:
        """The thumbnail. Raises PictureError."""
        state = self.state(image_id)
        with self._making:
            if state not in self._made:
                self._made[state] = self._make(image_id)
            return self._made[state]

    def _make(self, image_id: str) -> bytes:
        picture = read_picture(self._studies.picture_path(image_id))
        kind, path = self._facts.mask(image_id)
        return thumbnail(picture, _masks(kind, path, picture) if path else None)


def _masks(kind: str, path: Path, picture: Picture) -> np.ndarray | None:
    """N x H x W on the displayed slices; None for a mask that does not lie on the picture, or cannot be read."""
    if kind == ORIGINAL:
        try:
            return read_mask(path, picture)
        except TextSegError:
            return None
    made = read_mask_file(path)
    if made is None or made.shape != tuple(reversed(picture.grid.size)):
        return None
    return picture.view.displayed(made)
