"""The wording of the public annotation (QaTa-COV19, MosMedData+), read to the letter.

    sentence = ("Bilateral" | "Unilateral") " pulmonary infection, " count " infected area(s), " place [" and " place]
    place    = ("all" | one to three of "upper" "middle" "lower") (" left" | " right") " lung"

Any part may be missing, in any letter case, with the typing mistakes of the published files.
"""

import itertools
import re

from textseg.text.finding import ZONES, Finding
from textseg.text.vocabulary import (
    FINDING_WORDS,
    LATERALITY_WORDS,
    LUNG_WORDS,
    NUMBERS,
    SIDE_WORDS,
    ZONE_WORDS,
    repaired,
)

KNOWN = frozenset((*LATERALITY_WORDS, *FINDING_WORDS, *ZONE_WORDS, *SIDE_WORDS, *LUNG_WORDS, *NUMBERS, "and"))


def read_template(text: str) -> tuple[Finding, bool | None] | None:
    """The Finding in the sides that the sentence speaks of, and what it says of bilateral; None for other wording."""
    words = [repaired(word.lower()) for word in re.findall(r"\d+|[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text)]
    if not _is_template(words):
        return None
    places, unplaced = _places(words)
    bilateral = next((word == "bilateral" for word in words if word in LATERALITY_WORDS), None)
    if unplaced or (not places and any(zone in words for zone in ZONES)):
        return None
    left, right = _fill_bare_sides(places, bilateral)
    return Finding(left=tuple(left), right=tuple(right), count=_count(words)), bilateral


def _is_template(words: list[str]) -> bool:
    named = any(word in (*LATERALITY_WORDS, "infection", "infected") for word in words)
    closed = all(after in LUNG_WORDS for word, after in itertools.pairwise([*words, ""]) if word in SIDE_WORDS)
    return named and closed and all(word in KNOWN or word.isdecimal() for word in words)


def _places(words: list[str]) -> tuple[dict[str, list[str]], set[int]]:
    """Zone words collect until "left lung" or "right lung" closes them; "and" clears the collection.

    Returns the zones per side (a side named without zones has an empty list), and where the zone words stand that no
    side closed.
    """
    places: dict[str, list[str]] = {}
    pending: dict[int, str] = {}
    unplaced: set[int] = set()
    for at, word in enumerate(words):
        if word in ZONE_WORDS:
            pending[at] = word
        elif word in SIDE_WORDS:
            places.setdefault(word, []).extend(ZONES if "all" in pending.values() else pending.values())
            pending = {}
        elif word == "and":
            unplaced |= pending.keys()
            pending = {}
    return places, unplaced | pending.keys()


def _fill_bare_sides(places: dict[str, list[str]], bilateral: bool | None) -> tuple[list[str], list[str]]:
    """A side without zones is the whole lung, but MosMedData+'s stray side in a unilateral sentence is empty."""
    zoned = any(places.values())
    filled = {side: zones or ([] if bilateral is False and zoned else list(ZONES)) for side, zones in places.items()}
    if bilateral and not places:
        return list(ZONES), list(ZONES)
    return filled.get("left", []), filled.get("right", [])


def _count(words: list[str]) -> int | None:
    """The number word or digits directly before "infected"."""
    for word, following in itertools.pairwise(words):
        if following == "infected" and (word in NUMBERS or word.isdecimal()):
            count = NUMBERS[word] if word in NUMBERS else int(word[:6])
            return count if count >= 1 else None
    return None
