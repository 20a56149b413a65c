"""Who has which picture: two people are not given the same one at one time.

A lease binds others only, for half an hour. They are kept over a restart: whoever has a picture open still has it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textseg.data.store.durable import read_json, to_json, write_whole
from textseg.errors import StoreError

SECONDS = 1800.0
OWN_AGAIN = "All pictures that are left were given out: this is the one that you have had longest."
OTHERS = "All pictures that are left were given to others: this is the one that was given out longest ago."
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """What somebody is given. before: seconds since it was given last, None: never. told: a sentence, "" for none."""

    picture: str
    before: float | None = None
    told: str = ""


class Leases:
    """picture -> who has it since when. holder: a hash of client and address, see `Client.key`.

    path: where they are kept, None: in memory. unfinished: a folder of the same disk.
    """

    def __init__(
        self,
        path: Path | None = None,
        unfinished: Path | None = None,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path, self._unfinished, self._seconds, self._clock = path, unfinished, seconds, clock
        self._lock = threading.Lock()
        self._held: dict[str, tuple[str, float]] = self._read()  # the oldest first

    def give(self, holder: str, pictures: Iterable[str]) -> Given | None:
        """One of `pictures`, all that can be labelled, the best first; it is the holder's from now on. None: of none.

        The first that nobody has, not the holder either; else the holder's own that was given longest ago; else
        anybody's.
        """
        with self._lock:
            self._drop_old()
            given = self._choose(holder, pictures)
            if given is not None:
                self._held.pop(given.picture, None)
                self._held[given.picture] = (holder, self._clock())
                self._write()
        return given

    def free(self, picture: str) -> None:
        """It was labelled, or cannot be opened."""
        with self._lock:
            if self._held.pop(picture, None) is not None:
                self._write()

    def holder(self, picture: str) -> str:
        """Who has it; "" for nobody."""
        with self._lock:
            self._drop_old()
            return self._held.get(picture, ("", 0.0))[0]

    def _choose(self, holder: str, pictures: Iterable[str]) -> Given | None:
        there = set()
        for picture in pictures:
            if picture not in self._held:
                return Given(picture)
            there.add(picture)
        taken = [picture for picture in self._held if picture in there]  # the oldest first
        own = [picture for picture in taken if self._held[picture][0] == holder]
        if not taken:
            return None
        oldest = (own or taken)[0]
        return Given(oldest, self._clock() - self._held[oldest][1], OWN_AGAIN if own else OTHERS)

    def _drop_old(self) -> None:
        """What is too old, and what is of a future that a clock set back has taken away."""
        now = self._clock()
        self._held = {
            picture: (holder, since)
            for picture, (holder, since) in self._held.items()
            if 0 <= now - since < self._seconds
        }

    def _read(self) -> dict[str, tuple[str, float]]:
        content: dict[str, Any] = {}
        try:
            content = (read_json(self._path) if self._path else None) or {}
            return {str(name): (str(who), float(since)) for name, (who, since) in content.get("held", {}).items()}
        except (StoreError, OSError, TypeError, ValueError, AttributeError) as error:
            logger.warning("who had which picture cannot be read: %s", type(error).__name__)
            return {}

    def _write(self) -> None:
        if self._path is None or self._unfinished is None:
            return
        try:
            write_whole(self._path, to_json({"held": self._held}), self._unfinished, power_cuts=False)
        except OSError as error:
            logger.warning("who has which picture cannot be kept (%s); it holds until a restart", error.strerror)
