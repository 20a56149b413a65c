"""Which picture comes next."""

import random
import threading
import time
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy


class RandomStrategy(Strategy):
    """One of the unlabelled pictures that were not given yet, by chance; when all were, the one given longest ago."""

    def __init__(self) -> None:
        super().__init__("A picture without a final label, by chance")
        self._given: dict[str, float] = {}
        self._choosing = threading.Lock()

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """The picture's id and when it was last given (seconds ago, -1: never); None when all are labelled."""
        with self._choosing:
            pictures = datastore.get_unlabeled_images()
            if not pictures:
                return None
            never = [picture for picture in pictures if picture not in self._given]
            chosen = random.choice(never) if never else min(pictures, key=self._given.__getitem__)
            before = self._given.get(chosen)
            self._given[chosen] = time.monotonic()
        return {"id": chosen, "weight": -1 if before is None else int(time.monotonic() - before)}
