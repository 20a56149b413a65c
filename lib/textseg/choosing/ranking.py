"""The order in which pictures are offered, as it was last put together. Whoever asks reads it; nothing is computed."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

OFF = "By chance: scoring is off (--conf scoring off)."
ARCHIVE = "By chance: pictures of a DICOMweb archive are not scored."
UNKNOWN = "Nothing is known of this picture yet: by chance."


@dataclass(frozen=True)
class Ranked:
    """A picture without a final label. score: 0..1, how much is learnt from it; None: not known. reason: a sentence.

    asks: there is no prompt for it that can be used; whoever gets it is asked for one first.
    """

    picture: str
    score: float | None
    reason: str
    asks: bool = False


class Ranking:
    """All pictures that can be labelled, the one of which the model is least sure first.

    unlabelled: tells which they are. unknown: the reason of one that nothing is known of.
    """

    def __init__(self, unlabelled: Callable[[], Sequence[str]], unknown: str = UNKNOWN) -> None:
        self._unlabelled, self._unknown = unlabelled, unknown
        self._order: tuple[Ranked, ...] = ()

    def put(self, order: Sequence[Ranked]) -> None:
        """A new order, in place of the one before, at once."""
        self._order = tuple(order)

    def best(self, count: int) -> list[Ranked]:
        """The first `count` of all."""
        return list(islice(self, count))

    def __iter__(self) -> Iterator[Ranked]:
        """All of them. Those that came after the order was put together are last, in an order of chance."""
        left = set(self._unlabelled())
        for ranked in self._order:
            if ranked.picture in left:
                left.remove(ranked.picture)
                yield ranked
        for picture in sorted(left, key=_chance):
            yield Ranked(picture, None, self._unknown)


def _chance(picture: str) -> tuple[int, str]:
    """Always the same for one picture, and unlike for pictures whose names differ by a number."""
    return zlib.crc32(picture.encode("utf-8", "surrogatepass")), picture
