"""What was found out of pictures, kept on the disk by (picture, weights, finding): nothing is computed twice.

One small file per picture, written whole. It holds numbers and hashes, no words of a prompt.
"""

import base64
import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from textseg.data.store.durable import read_json, to_json, write_whole
from textseg.errors import StoreError

SUFFIX = ".json"
KEPT = 2  # per picture: of the weights that serve, and of those before, so that going back to them costs nothing
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """What a score holds for. picture: the state of its file; weights: their SHA-256; finding: of what is said.

    All three are hashes; finding is "" where no prompt can be used.
    """

    picture: str
    weights: str
    finding: str


@dataclass(frozen=True)
class Scored:
    """score, parts: as of a `Disagreement`; score is None where only the look was taken. look: C float16."""

    key: Key
    look: np.ndarray
    score: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def asks(self) -> bool:
        """Whether there is no prompt that can be used."""
        return not self.key.finding

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; `of` is the inverse."""
        look = base64.b64encode(self.look.astype("<f2").tobytes()).decode()
        return {"key": asdict(self.key), "score": self.score, "parts": dict(self.parts), "look": look}

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Scored":
        """Raises KeyError, TypeError or ValueError for what is none."""
        look = np.frombuffer(base64.b64decode(content["look"], validate=True), "<f2")
        score = None if content["score"] is None else float(content["score"])
        parts = {str(name): float(part) for name, part in content["parts"].items()}
        return cls(Key(**content["key"]), look, score, parts)


class Scores:
    """The scores of all pictures of one studies folder. Safe with several threads.

    folder: where they are kept, None: only in memory. unfinished: a folder of the same disk.
    """

    def __init__(self, folder: Path | None, unfinished: Path | None = None) -> None:
        self._folder, self._unfinished = folder, unfinished
        self._kept: dict[str, tuple[Scored, ...]] = {}  # the newest first
        self._lock = threading.Lock()

    def load(self, pictures: Iterable[str]) -> None:
        """Read what is kept of these pictures."""
        for picture in pictures:
            kept = self._read(picture)
            with self._lock:
                if kept and picture not in self._kept:
                    self._kept[picture] = kept

    def find(self, picture: str, key: Key) -> Scored | None:
        """What holds for `key`, now the newest; None where it is not known."""
        with self._lock:
            kept = self._kept.get(picture, ())
            found = next((each for each in kept if each.key == key), None)
            if found is not None and kept[0] is not found:
                self._kept[picture] = (found, *(each for each in kept if each is not found))
        return found

    def newest(self, picture: str) -> Scored | None:
        """The last that was found out of a picture, perhaps by earlier weights or with other words."""
        kept = self._kept.get(picture, ())
        return kept[0] if kept else None

    def put(self, picture: str, scored: Scored) -> None:
        """Keep it. Where the disk does not take it, it is kept in memory."""
        with self._lock:
            before = () if self._is_forgotten(picture) else self._kept.get(picture, ())
            others = [each for each in before if each.key.weights != scored.key.weights]
            kept = self._kept[picture] = (scored, *others)[:KEPT]
            if self._folder is not None and self._unfinished is not None:
                data = to_json({"scores": [each.to_json() for each in kept]})
                try:
                    write_whole(self._path(picture), data, self._unfinished, power_cuts=False)
                except OSError as error:
                    logger.warning("a score cannot be kept (%s): it is computed again later", error.strerror)

    def keep_only(self, pictures: Collection[str]) -> None:
        """Forget all others: those pictures are there no more."""
        there = set(pictures)
        with self._lock:
            for picture in set(self._kept) - there:
                del self._kept[picture]
            for path in self._folder.glob(f"*{SUFFIX}") if self._folder is not None else ():
                if path.name.removesuffix(SUFFIX) not in there:
                    path.unlink(missing_ok=True)

    def __len__(self) -> int:
        """Of how many pictures something is known."""
        return len(self._kept)

    def _is_forgotten(self, picture: str) -> bool:
        """Whether what was kept has been erased by `textseg forget`, which knows nothing of this process."""
        return self._folder is not None and not self._path(picture).is_file()

    def _path(self, picture: str) -> Path:
        return self._folder / f"{picture}{SUFFIX}"

    def _read(self, picture: str) -> tuple[Scored, ...]:
        if self._folder is None:
            return ()
        try:
            content = read_json(self._path(picture)) or {}
            return tuple(Scored.of(each) for each in content.get("scores", ()))
        except (StoreError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            logger.warning("what was found out of a picture cannot be read: %s", type(error).__name__)
            return ()
