"""Which picture comes next. Both strategies lease what they give, see `choosing.leases`."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.strategy import Strategy

from textseg.choosing.leases import Given, Leases
from textseg.choosing.ranking import Ranked, Ranking
from textseg.data.store.clients import Client
from textseg.server.caller import current_caller

INFORMATIVE, UNIFORM = "random", "uniform"  # OHIF always asks for `random`
NEVER = -1


class Informative(Strategy):
    """The first of the ranking that nobody has."""

    def __init__(self, ranking: Ranking, leases: Leases) -> None:
        super().__init__(
            "The picture of which the model is least sure: its masks disagree when prompt and picture are changed "
            "a little, and unlike those before it. (Called random because OHIF asks for that name.)"
        )
        self._ranking, self._leases = ranking, leases

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """What is given: `id`, `weight` (seconds since it was given last, -1: never), `score`, `reason`, `told`.

        None when all pictures are labelled.
        """
        passed: dict[str, Ranked] = {}

        def in_order() -> Iterator[str]:
            for ranked in self._ranking:
                passed[ranked.picture] = ranked
                yield ranked.picture

        given = self._leases.give(holder(request), in_order())
        if given is None:
            return None
        ranked = passed[given.picture]
        return {**_told(given), "score": ranked.score, "reason": ranked.reason}


class Uniform(Strategy):
    """Any picture that nobody has, each with the same chance."""

    def __init__(self, leases: Leases) -> None:
        super().__init__("A picture without a final label, by chance: the baseline to hold the other one against")
        self._leases = leases

    def __call__(self, request: Mapping[str, Any], datastore: Datastore) -> dict[str, Any] | None:
        """As `Informative`; nothing of what is known of the pictures is used."""
        pictures = list(datastore.get_unlabeled_images())
        random.shuffle(pictures)
        given = self._leases.give(holder(request), pictures)
        return {**_told(given), "score": None, "reason": "By chance."} if given is not None else None


def holder(request: Mapping[str, Any]) -> str:
    """Who asks: a hash of client id and address."""
    return Client(str(request.get("client_id") or ""), current_caller().address).key


def _told(given: Given) -> dict[str, Any]:
    return {
        "id": given.picture,
        "weight": NEVER if given.before is None else int(given.before),
        "told": given.told,
    }
