"""The predictor of the version that serves now. A version that is published or rolled back to needs no restart."""

import logging
import threading

from textseg.engine.predictor import Predictor
from textseg.errors import TextSegError
from textseg.learning.versions import Served, Versions

logger = logging.getLogger(__name__)


class CurrentPredictor:
    """One model as it is served: loaded and warmed up at once, and anew when another version is to serve.

    Raises WeightsMissing when no version of the model and no base can be loaded.
    """

    def __init__(self, versions: Versions, device: str = "cpu") -> None:
        self.versions, self.spec = versions, versions.spec
        self._device, self._loading = device, threading.Lock()
        self._seen = versions.stat()
        self._served, self._predictor = self._load(None)

    def get(self) -> Predictor:
        """The predictor of the version that serves now, for the whole of one request.

        The first request after a change loads it; others meanwhile, and all when it cannot be loaded, get the one
        before.
        """
        if self._has_changed() and self._loading.acquire(blocking=False):
            try:
                self._renew()
            finally:
                self._loading.release()
        return self._predictor

    @property
    def last(self) -> Predictor:
        """The predictor that served last. Nothing is loaded."""
        return self._predictor

    def _has_changed(self) -> bool:
        try:
            return self.versions.stat() != self._seen
        except OSError:  # a disk that does not answer is no reason for another version
            return False

    def _renew(self) -> None:
        """Load what serves now; once for every change, whatever comes of it."""
        try:
            seen = self.versions.stat()  # before what it leads to: a later change is seen by the next request
            if seen != self._seen:
                self._seen = seen
                self._served, self._predictor = self._load(self._served)
        except Exception:
            logger.exception(
                "%s: the version that is to serve now cannot be loaded; %s goes on until another one is chosen",
                self.spec.name,
                self._served.version,
            )

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
                refused[served.version] = f"It cannot be loaded: {error!r}."
            else:
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
