"""`--conf retrain_after N`: a training begins by itself when N pictures were labelled, and people pause."""

import logging
import threading
from collections.abc import Callable, Collection

from fastapi import HTTPException

QUIET_SECONDS = 30.0  # without a label: nobody is in the middle of a series
logger = logging.getLogger(__name__)


class RetrainAfter:
    """Counts labelled pictures since the last training. start: begins one; raises HTTPException where one runs.

    labelled: reads which pictures people labelled since the last training began, whoever began it. It is asked at the
    start and before a training, not with every label.
    """

    def __init__(
        self,
        after: int,
        start: Callable[[], None],
        labelled: Callable[[], Collection[str]],
        quiet: float = QUIET_SECONDS,
    ) -> None:
        self._after, self._start, self._read, self._quiet = after, start, labelled, quiet
        self._labelled = set(labelled())  # and perhaps others, which were learnt from since
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._closed = False

    def submitted(self, picture: str) -> None:
        """A picture was labelled, or labelled again, which does not count twice."""
        with self._lock:
            self._labelled.add(picture)
            if not self._closed and len(self._labelled) >= self._after:
                self._wait()

    def close(self) -> None:
        """Begin nothing any more."""
        with self._lock:
            self._closed = True
            if self._timer:
                self._timer.cancel()

    def _wait(self) -> None:
        """Begin after a pause, counted anew from now."""
        if self._timer:
            self._timer.cancel()
        self._timer = threading.Timer(self._quiet, self._due)
        self._timer.daemon = True
        self._timer.start()

    def _due(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._labelled = set(self._read())
            if len(self._labelled) < self._after:
                return
            try:
                self._start()
            except HTTPException as error:  # one runs: what was labelled meanwhile is for the next
                logger.info("%d labelled pictures wait for a training: %s", len(self._labelled), error.detail)
                self._wait()
                return
            logger.info("a training begins by itself: %d pictures were labelled", len(self._labelled))
            self._labelled.clear()
