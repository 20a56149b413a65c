"""Pictures are scored in the background, in small steps, while no run waits or goes on: a click finds it done.

One thread of the server's own process, last in line for the processor. Nothing is computed for a click.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from textseg.choosing.disagreement import disagreement, look_of
from textseg.choosing.order import ordered
from textseg.choosing.ranking import Ranking
from textseg.choosing.scores import Key, Scored, Scores
from textseg.engine.predictor import Predictor
from textseg.engine.texts import Said
from textseg.errors import PictureError, TextSegError
from textseg.imaging.picture import Picture
from textseg.imaging.read import AUTO, read_picture
from textseg.learning.current import CurrentPredictor
from textseg.server.delivery import state_of
from textseg.server.infer import Asked
from textseg.server.infer_queue import InferQueue
from textseg.server.known_words import key_of, words_of
from textseg.server.studies import Studies

FIRST = 100  # pictures of which first the look alone is taken: enough to offer unlike ones until scores are there
NICE = 15  # requests and trainings go first
LOOK_AGAIN_SECONDS = 5.0  # for pictures, rows of prompts.csv and versions that came meanwhile
ORDER_SECONDS = 10.0  # the order of all is put together anew no more often
logger = logging.getLogger(__name__)


class Stopped(Exception):
    """The server ends, or another version of the weights serves."""


@dataclass(frozen=True)
class Known:
    """One picture as it lies there now."""

    path: Path
    key: Key
    asked: Asked
    modality: str


class Scoring:
    """Keeps the ranking of the unlabelled pictures of one studies folder, by the model that serves."""

    def __init__(
        self, studies: Studies, current: CurrentPredictor, queue: InferQueue, scores: Scores, ranking: Ranking
    ) -> None:
        self._studies, self._current, self._queue = studies, current, queue
        self._scores, self._ranking = scores, ranking
        self._stop, self._told = threading.Event(), threading.Event()
        self._changed: set[str] = set()
        self._noticed: dict[str, bytes | None] = {}  # the unlabelled pictures -> the states of their files
        self._refreshed, self._relisted = -1, False  # relisted: other pictures are unlabelled than in the last round
        self._refused: dict[str, tuple[str, PictureError]] = {}  # what could not be read: the state of its file then
        self._put = self._looked = 0.0  # when that was done last
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)

    def start(self) -> None:
        """Begin. At the end of the process it ends by itself."""
        atexit.register(self.close)
        self._thread.start()

    def close(self) -> None:
        """End, within one step."""
        atexit.unregister(self.close)
        self._stop.set()
        self._told.set()
        if self._thread.is_alive():
            self._thread.join(5)

    def asked(self, picture: str) -> None:
        """Something was asked of a picture: its words may be others now."""
        self._changed.add(picture)
        self._told.set()

    def _run(self) -> None:
        with suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        with suppress(Stopped):
            self._scores.load(self._each(self._studies.list_images()))
        before: object = None
        while not self._stop.is_set():
            state = self._state()
            self._notice()
            try:
                if state != before or self._changed or self._relisted:
                    self._round(state, anew=state != before)
                    before = state
            except Stopped:
                continue
            except Exception:
                logger.exception("Scoring was broken off; it is tried again when something has changed")
                before = state
            self._told.wait(LOOK_AGAIN_SECONDS)
            self._told.clear()

    def _round(self, state: object, anew: bool) -> None:
        """Everything that is not scored yet; anew: False where only single pictures have changed."""
        predictor, changed = self._current.get(), self._taken()
        if self._relisted:
            self._relisted = False
            self._scores.keep_only(self._studies.list_images())
        if anew:
            self._put_in_order(predictor)
            self._take_looks(predictor)
            self._put_in_order(predictor)
        waiting = [ranked.picture for ranked in self._ranking if anew or ranked.picture in changed]
        for picture in self._each(waiting, predictor):
            self._score(picture, predictor)
            if time.monotonic() - self._looked > LOOK_AGAIN_SECONDS:
                self._look_up(state, predictor)
        self._put_in_order(predictor)
        if anew:
            scored = sum(ranked.score is not None for ranked in self._ranking)
            logger.info("%d of %d pictures are scored by %s", scored, len(waiting), predictor.version)

    def _look_up(self, state: object, predictor: Predictor) -> None:
        """In a long round: what has changed comes first. Raises Stopped where prompts.csv or the version has."""
        if self._state() != state:
            raise Stopped
        self._notice()
        for picture in self._each(sorted(self._taken()), predictor):
            self._score(picture, predictor)
        self._looked = time.monotonic()
        if self._looked - self._put > ORDER_SECONDS:
            self._put_in_order(predictor)

    def _notice(self) -> None:
        """What has changed since the last look: pictures that came or were replaced are to be scored."""
        refreshed, before = self._studies.refreshed, self._noticed
        keep = before if refreshed == self._refreshed else {}
        now = {name: keep[name] if name in keep else self._file_state(name) for name in self._unlabelled()}
        self._changed |= {name for name, state in now.items() if before.get(name) != state}
        self._noticed, self._refreshed = now, refreshed
        self._relisted |= now.keys() != before.keys()

    def _unlabelled(self) -> list[str]:
        return self._studies.get_unlabeled_images()

    def _file_state(self, picture: str) -> bytes | None:
        with suppress(TextSegError, OSError):
            return state_of(self._studies.picture_path(picture))
        return None

    def _taken(self) -> set[str]:
        changed = set(self._changed)
        self._changed -= changed
        return changed

    def _take_looks(self, predictor: Predictor) -> None:
        """Of the first pictures of which nothing is known yet."""
        unknown = (each.picture for each in self._ranking if self._scores.newest(each.picture) is None)
        for picture in self._each(list(islice(unknown, FIRST)), predictor):
            with self._passed_over(picture):
                known = self._known(picture, predictor)
                look = look_of(predictor, self._opened(picture, known))
                self._scores.put(picture, Scored(known.key, look))

    def _score(self, picture: str, predictor: Predictor) -> None:
        with self._passed_over(picture):
            known = self._known(picture, predictor)
            found = self._scores.find(picture, known.key)
            if found is not None and found.score is not None:
                return
            opened = self._opened(picture, known)
            told = disagreement(predictor, opened, Said.of(known.asked.reading), self._pause)
            self._scores.put(picture, Scored(known.key, told.look, told.score, told.parts))

    def _known(self, picture: str, predictor: Predictor) -> Known:
        path = self._studies.picture_path(picture)
        known = self._studies.keeping.known(picture, path)
        asked = words_of(known, path, predictor.spoken)
        key = key_of(path, predictor.weights_sha256, asked.reading)
        return Known(path, key, asked, known.row.modality if known.row else "")

    def _opened(self, picture: str, known: Known) -> Picture:
        """Raises PictureError; for one that could not be read as it lies there, without reading it again."""
        state, error = self._refused.get(picture, ("", None))
        if error is not None and state == known.key.picture:
            raise error
        try:
            return read_picture(known.path, AUTO, known.modality)
        except PictureError as error:
            self._refused[picture] = (known.key.picture, error)
            raise

    @contextmanager
    def _passed_over(self, picture: str) -> Iterator[None]:
        """One picture that cannot be scored does not keep the others from it."""
        try:
            yield
        except Stopped:
            raise
        except (TextSegError, OSError) as error:
            logger.info("a picture is not scored: %s", type(error).__name__)
            if isinstance(error, PictureError):
                self._studies.set_aside(picture)
        except Exception:
            logger.exception("a picture is not scored")

    def _put_in_order(self, predictor: Predictor) -> None:
        self._pause()
        labelled = self._studies.get_labeled_images()
        self._ranking.put(ordered(self._unlabelled(), self._scores, predictor.weights_sha256, labelled))
        self._put = time.monotonic()

    def _each(self, pictures: Sequence[str], predictor: Predictor | None = None) -> Iterator[str]:
        """One after the other, as long as this predictor serves. Raises Stopped."""
        for picture in pictures:
            self._pause()
            if predictor is not None and self._current.get() is not predictor:
                raise Stopped
            yield picture

    def _pause(self) -> None:
        """Let all requests go first. Raises Stopped."""
        while not self._stop.is_set():
            if self._queue.wait_until_idle(1.0):
                return
        raise Stopped

    def _state(self) -> object:
        """Another one where there is another prompts.csv or another version."""
        return self._studies.keeping.table.changed(), self._current.get()
