"""How many runs go on at one time, and how many may wait."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from textseg.errors import ServerBusy

RUNNING = 2  # at one time: one reads and writes files while the other is in the network
WAITING = 16


class InferQueue:
    """At most `running` are inside, at most `waiting` more wait for it; whoever comes then is sent away at once."""

    def __init__(self, running: int = RUNNING, waiting: int = WAITING) -> None:
        self._places = threading.BoundedSemaphore(running + waiting)
        self._running = threading.BoundedSemaphore(running)
        self._taken, self._idle = 0, threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn. Raises ServerBusy when too many wait already."""
        if not self._places.acquire(blocking=False):
            raise ServerBusy("The server is busy with other requests. Try again in a few seconds.")
        self._count(1)
        try:
            with self._running:
                yield
        finally:
            self._count(-1)
            self._places.release()

    def wait_until_idle(self, seconds: float) -> bool:
        """True as soon as nobody is inside and nobody waits; False when that is not so after `seconds`."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._taken, seconds)

    def _count(self, change: int) -> None:
        with self._idle:
            self._taken += change
            self._idle.notify_all()
