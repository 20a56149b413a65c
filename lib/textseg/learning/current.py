"""The predictor of the version that serves now. A version that is published or rolled back to needs no restart."""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from textseg.engine.predictor import Predictor
from textseg.errors import TextSegError
from textseg.learning.versions import Served, Versions

RETRY_SECONDS = 30.0  # memory that is short, or a disk that does not answer, may be there again by then
logger = logging.getLogger(__name__)


class CurrentPredictor:
    """One model as it is served: loaded and warmed up at once, and anew when another version is to serve.

    clock: seconds that only grow. Raises WeightsMissing when no version of the model and no base can be loaded.
    """

    def __init__(self, versions: Versions, device: str = "cpu", clock: Callable[[], float] = time.monotonic) -> None:
        self.versions, self.spec = versions, versions.spec
        self._device, self._loading, self._clock = device, threading.Lock(), clock
        self._again = math.inf  # when a version is tried again that a passing fault kept from being loaded
        self._seen = versions.stat()
        self._served, self._predictor = self._load(None)

    def get(self) -> Predictor:
        """The predictor of the version that serves now, for the whole of one request.

        The first request after a change loads it; others meanwhile, and all when it cannot be loaded, get the one
        before. What failed for another reason than its own weights is tried again, RETRY_SECONDS later at the soonest.
        """
        if self._is_due() and self._loading.acquire(blocking=False):
            try:
                self._renew()
            finally:
                self._loading.release()
        return self._predictor

    @property
    def last(self) -> Predictor:
        """The predictor that served last. Nothing is loaded."""
        return self._predictor

    @property
    def served(self) -> Served | None:
        """What serves, and why what should serve does not; None where the next request loads another version first.

        Nothing is loaded.
        """
        return None if self._has_changed() else self._served

    def _is_due(self) -> bool:
        """Whether there is something to load: another version is to serve, or one is to be tried again."""
        return self._clock() >= self._again or self._has_changed()

    def _has_changed(self) -> bool:
        try:
            return self.versions.stat() != self._seen
        except OSError:  # a disk that does not answer is no reason for another version
            return False

    def _renew(self) -> None:
        """Load what serves now; once for every change and every further try, whatever comes of it."""
        try:
            seen = self.versions.stat()  # before what it leads to: a later change is seen by the next request
            if seen != self._seen or self._clock() >= self._again:
                self._seen, self._again = seen, math.inf
                self._served, self._predictor = self._load(self._served)
        except Exception as error:
            self._goes_on(error)

    def _goes_on(self, error: Exception) -> None:
        """Nothing could be loaded: the one before serves, and tells why."""
        version = self._served.version
        if not isinstance(error, TextSegError):
            self._try_again_later()
        until = "until another one is chosen" if self._again == math.inf else "until it can be loaded"
        logger.exception(
            "%s: the version that is to serve now cannot be loaded; %s goes on %s", self.spec.name, version, until
        )
        fault = str(error) if isinstance(error, TextSegError) else f"It cannot be loaded: {error!r}."
        self._served = replace(self._served, told=(fault, f"{version} goes on {until}."))

    def _try_again_later(self) -> None:
        self._again = self._clock() + RETRY_SECONDS

    def _load(self, before: Served | None) -> tuple[Served, Predictor]:
        """What serves, the first that can be loaded; `before` is not loaded again. Raises WeightsMissing."""
        refused: dict[str, str] = {}
        while True:
            served = self.versions.served(refused)
            try:
                predictor = self._predictor if _same(served, before) else self._loaded(served)
            except TextSegError as error:
                refused[served.version] = str(error)
            except Exception as error:
                logger.exception("%s %s", self.spec.name, served.version)
                refused[served.version] = f"It cannot be loaded: {error!r}. It is tried again."
                self._try_again_later()
            else:
                if served != before:
                    self._tell(served)
                return served, predictor

    def _loaded(self, served: Served) -> Predictor:
        predictor = Predictor.load(self.spec, served.weights, self._device, self.versions.pretrained)
        predictor.version = served.version  # a file that was copied may call itself otherwise
        predictor.warm_up()
        return predictor

    def _tell(self, served: Served) -> None:
        for sentence in served.told:
            logger.warning("%s", sentence)
        where = served.weights or "the weights that come with textseg"
        logger.info("%s is served, version %s: %s", self.spec.name, served.version, where)


def _same(served: Served, before: Served | None) -> bool:
    """True for the same weights under the same name."""
    if before is None:
        return False
    return (served.version, served.manifest["sha256"]) == (before.version, before.manifest["sha256"])
