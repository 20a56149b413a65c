"""What belongs to Next Sample in one app: ranking, leases, strategies, and the scoring in the background."""

from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from textseg.choosing.leases import Leases
from textseg.choosing.ranking import ARCHIVE, OFF, UNKNOWN, Ranking
from textseg.choosing.scores import Scores
from textseg.data.store.history import NONE
from textseg.data.store.shown import FINAL
from textseg.errors import PictureError
from textseg.learning.current import CurrentPredictor
from textseg.server.conf import is_on
from textseg.server.infer_queue import InferQueue
from textseg.server.known_words import ASKS, words_of
from textseg.server.scoring import Scoring
from textseg.server.strategy import INFORMATIVE, UNIFORM, Informative, Uniform
from textseg.server.studies import Studies


class NextPictures:
    """conf: the server's; `scoring off` leaves everything to chance. Of a DICOMweb archive nothing is scored."""

    def __init__(self, datastore: Datastore, conf: Mapping[str, str]) -> None:
        self._studies = datastore if isinstance(datastore, Studies) else None
        wanted = is_on({"scoring": "on", **conf}, "scoring")
        self._is_scored = self._studies is not None and wanted
        self._scoring: Scoring | None = None
        self._current: CurrentPredictor | None = None
        unknown = (UNKNOWN if self._is_scored else ARCHIVE) if wanted else OFF
        self.ranking = Ranking(datastore.get_unlabeled_images, unknown)
        self.leases = self._kept_leases()
        self.strategies: dict[str, Strategy] = {
            INFORMATIVE: Informative(self.ranking, self.leases),
            UNIFORM: Uniform(self.leases),
        }

    def begin(self, current: CurrentPredictor, queue: InferQueue) -> None:
        """Score pictures by this model while nobody is in the queue. For the process that serves alone."""
        self._current = current
        if self._studies is None or not self._is_scored:
            return
        keeping = self._studies.keeping
        layout = keeping.store.layout
        scores = Scores(layout.scores, layout.unfinished) if keeping.writable else Scores(None)
        self._scoring = Scoring(self._studies, current, queue, scores, self.ranking)
        self._scoring.start()

    def with_words(self, sample: dict[str, Any]) -> dict[str, Any]:
        """What a strategy gave, with `prompt`, `prompt_source`, `asks_for_prompt`, and `message`, for whoever gets it.

        The prompt is the one that counts where nobody gives another. Raises TextSegError; a picture that cannot be
        read is not offered again until it changes.
        """
        if not sample:
            return sample
        told = [sample.pop("told", "")]
        if self._studies is not None:
            path = self._studies.picture_path(sample["id"])
            try:
                known = self._studies.keeping.known(sample["id"], path)
            except PictureError:
                self._studies.set_aside(sample["id"])
                self.leases.free(sample["id"])
                raise
            asked = words_of(known, path, self._current.last.spoken if self._current else None)
            sample |= {"prompt": asked.prompt, "prompt_source": asked.source, "asks_for_prompt": asked.source == NONE}
            told += [*asked.warnings, ASKS if asked.source == NONE else ""]
        return {**sample, "message": " ".join(filter(None, told))}

    def asked(self, image_id: str) -> None:
        """Something was asked of a picture."""
        if self._scoring is not None:
            self._scoring.asked(image_id)

    def submitted(self, image_id: str) -> None:
        """A label of a picture was submitted: where it is a final one, the picture is nobody's any more."""
        if self._studies is None or self._studies.get_label_by_image_id(image_id, FINAL):
            self.leases.free(image_id)

    def close(self) -> None:
        """End what runs beside the requests."""
        if self._scoring is not None:
            self._scoring.close()

    def _kept_leases(self) -> Leases:
        """They outlive a restart where something is kept at all."""
        if self._studies is None or not self._studies.keeping.writable:
            return Leases()
        layout = self._studies.keeping.store.layout
        return Leases(layout.leases, layout.unfinished)
