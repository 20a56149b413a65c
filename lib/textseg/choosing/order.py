"""The order of all pictures, put together from what was found out of them."""

from collections.abc import Iterable, Sequence

import numpy as np

from textseg.choosing.diversity import spread
from textseg.choosing.parts import COUNT, FLIP, TEXT, WEIGHTS, WORDS, ZONE
from textseg.choosing.ranking import Ranked
from textseg.choosing.scores import Scored, Scores

SPREAD = 200  # pictures that are chosen to be unlike each other as well; nobody labels more before the next order
COVERED = 500  # earlier pictures that they are unlike
LEAST = 1e-3  # worth of a picture on which all masks agree
TOLD = 0.005  # below that a score is told as 0.00, and what little changed says nothing
WHY = {
    COUNT: "the mask changes when one area more or less is asked for",
    ZONE: "the mask changes when a neighbouring zone is named too",
    TEXT: "the mask changes when its prompt is left out",
    FLIP: "the mask changes when picture and sides are flipped",
    WORDS: "the mask contradicts its prompt",
}
NOTHING_LEARNT = "its masks agree however the model is asked"
UNSCORED = "Not scored yet: chosen by diversity alone, to be unlike the pictures before it."
ASKS = "No prompt is known that can be used: write one first."
EARLIER = " Scored with earlier weights or words; it is scored anew."


def ordered(pictures: Sequence[str], scores: Scores, weights: str, covered: Iterable[str] = ()) -> list[Ranked]:
    """Those of `pictures` of which something is known, the most informative first.

    First what is scored, by score and by how unlike the pictures before; then what only the look is known of, by that;
    then what has no prompt that can be used. weights: SHA-256 of those that serve. covered: what was labelled.
    """
    known = [(picture, found) for picture in pictures if (found := scores.newest(picture)) is not None]
    earlier = [found for picture in covered if (found := scores.newest(picture)) is not None][-COVERED:]
    told: list[Ranked] = []
    for belongs in (_is_scored, _is_unscored, _asks):
        part = {picture: found for picture, found in known if belongs(found)}
        chosen = _one_after_the_other(list(part.items()), earlier, weights)
        told += chosen
        earlier += [part[ranked.picture] for ranked in chosen[:SPREAD]]
    return told


def reason(scored: Scored, weights: str) -> str:
    """Why a picture stands where it stands, in a sentence or two."""
    lead = f"{ASKS} " if scored.asks else ""
    if scored.score is None:
        return f"{lead}{UNSCORED}"
    parts = {name: WEIGHTS[name] * part for name, part in scored.parts.items() if name in WHY}
    why = WHY[max(parts, key=parts.__getitem__)] if parts and scored.score >= TOLD else NOTHING_LEARNT
    return f"{lead}Score {scored.score:.2f}: {why}.{EARLIER if scored.key.weights != weights else ''}"


def _one_after_the_other(part: list[tuple[str, Scored]], earlier: list[Scored], weights: str) -> list[Ranked]:
    if not part:
        return []
    width = part[0][1].look.size  # of another network than the others' the looks are of no use
    looks = np.stack([_fitted(found.look, width) for _, found in part])
    before = np.stack([_fitted(found.look, width) for found in earlier]) if earlier else looks[:0]
    worth = np.array([1.0 if found.score is None else found.score + LEAST for _, found in part], np.float32)
    rows = spread(looks, worth, before, SPREAD)
    return [_ranked(*part[row], weights) for row in rows]


def _ranked(picture: str, found: Scored, weights: str) -> Ranked:
    return Ranked(picture, found.score, reason(found, weights), found.asks)


def _fitted(look: np.ndarray, width: int) -> np.ndarray:
    return look if look.size == width else np.zeros(width, look.dtype)


def _is_scored(found: Scored) -> bool:
    return not found.asks and found.score is not None


def _is_unscored(found: Scored) -> bool:
    return not found.asks and found.score is None


def _asks(found: Scored) -> bool:
    return found.asks
