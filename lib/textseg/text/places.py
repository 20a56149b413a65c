"""Where a clause says that something is: zones per lung, from words in the order in which people write them.

right upper and middle lobes          base of the left lung            lower left lung and upper right lung
right and left lower lobes            lower zones, right more than left          RLL, lingula, bibasal
"""

import itertools
from dataclasses import dataclass, field

from textseg.text.finding import ZONES
from textseg.text.lexicon import PLACED, SHARED, SIDES, ZONE_WORDS
from textseg.text.words import Word

LEFT, RIGHT, BOTH = "left", "right", "both"
APART = "|"  # stands between a place and the words that it was said after
Places = dict[str, set[str]]


@dataclass
class Part:
    """One noun phrase: what it says of side and zones.

    joined: what stands before it (start, and, apart, other). unit: its noun (lung, lobe, zone). placed: sides and zones
    that one word names together (RUL).
    """

    joined: str = "start"
    side: str = ""
    zones: list[str] = field(default_factory=list)
    unit: str = ""
    placed: Places = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not (self.side or self.zones or self.placed)


def places_of(words: list[Word], known: bool = False) -> tuple[Places, bool]:
    """Zones per lung, and whether a zone was named without any side (both lungs are meant then).

    known: earlier words have named places already, so that a comparison ("worse at the bases") adds nothing.
    """
    parts = _parts(words, known)
    _share_sides(parts)
    _drop_repeated_sides(parts)
    places: Places = {}
    sideless = False
    for part in parts:
        add_places(places, part.placed)
        if part.placed or part.empty:
            continue
        sideless |= not part.side
        zones = set(part.zones) - {"all"} or set(ZONES)  # "the whole right upper lobe" is the upper lobe
        add_places(places, dict.fromkeys((LEFT, RIGHT) if part.side in (BOTH, "") else (part.side,), zones))
    if sideless and all(not part.side and part.zones == ["all"] for part in parts if not part.empty):
        return {}, False  # "diffuse opacities": extent without a place
    return places, sideless


def add_places(places: Places, others: Places) -> None:
    """Puts the zones of `others` to those of `places`."""
    for side, zones in others.items():
        places.setdefault(side, set()).update(zones)


def _parts(words: list[Word], known: bool) -> list[Part]:
    parts = [Part()]
    for at, word in enumerate(words):
        after = words[at + 1 :]
        if word.kind == "more":
            if not _goes_on_after(word, parts, after, known):
                break
        elif word.kind in ("and", "comma", "colon", "stop") or word.text == "with":
            joined = "apart" if word.text == APART else "and" if word.kind == "and" else "other"
            parts.append(Part(joined=joined))
        elif word.kind in ("strong", "weak", "unknown", "number", "other") and not parts[-1].empty:
            if _belongs_to_another(word, words[at - 1], after) and not parts[-1].unit:
                parts[-1] = Part(joined=parts[-1].joined)
            parts.append(Part(joined="other"))
        elif word.kind in ("placed", "side", "zone", "unit"):
            _add(parts, word, segment=bool(after) and after[0].text.startswith("segment"))
    return parts


def _add(parts: list[Part], word: Word, segment: bool) -> None:
    """Adds a word of place to the last part, or to a new one where the last is full."""
    last = parts[-1]
    if word.kind == "unit":
        last.unit = word.text
    elif word.kind == "placed":
        _start_anew(parts, bool(last.placed or (last.side and last.zones)))
        parts[-1] = Part(parts[-1].joined, placed={side: {zone} for side, zone in PLACED[word.text]})
    elif word.kind == "side":
        _start_anew(parts, bool(last.side or last.placed) and SIDES[word.text] != last.side)
        parts[-1].side = SIDES[word.text]
    elif not segment:
        _start_anew(parts, bool(last.placed or (last.side and last.zones and last.unit)))
        parts[-1].zones.append(ZONE_WORDS[word.text])


def _belongs_to_another(word: Word, before: Word, after: list[Word]) -> bool:
    """ "left hemiparesis", "lower thoracic spine": the side or zone of something else is no place of an infection."""
    if before.kind not in ("side", "zone") or word.kind not in ("unknown", "other") or word.text in SHARED:
        return False
    if word.kind == "other":
        return True
    ends = ("strong", "weak", "other", "comma", "colon", "and", "of")
    next_ = next((later.kind for later in after if later.kind in ends), "")
    return next_ not in ("strong", "weak")


def _goes_on_after(word: Word, parts: list[Part], after: list[Word], known: bool) -> bool:
    """What a comparison does to the places: it adds none, but for the sides or lobes that are compared themselves."""
    if parts[-1].placed and after and after[0].kind == "placed":  # RLL > LLL
        parts.append(Part(joined="and"))
        return True
    if word.text in ("predominance", "predominant", "dominant") and (known or len(parts) > 1):
        parts.pop()
        parts.append(Part(joined="other"))
        return True
    last = next((part for part in reversed(parts) if not part.empty), Part())
    if word.text == "more" and _has_zone(last) and _starts_with_zone(after):
        parts.append(Part(joined="and"))  # LLL pneumonia worse than RLL pneumonia
        return True
    if known:
        parts[:] = [part for part in parts if part.zones or part.placed]
        return False
    if _compared_sides(parts, after):
        parts[-1].side = BOTH
        return False
    return all(part.empty for part in parts)


def _drop_repeated_sides(parts: list[Part]) -> None:
    """ "lingular opacity on the left", "middle lobe infiltrate on the right": the side alone adds nothing."""
    for part in parts:
        others = [other for other in parts if other is not part and (other.zones or other.placed)]
        if part.side in (LEFT, RIGHT) and not (part.zones or part.unit):
            repeated = any(other.side == part.side or set(other.placed) == {part.side} for other in others)
            part.side = "" if repeated else part.side


def _named_sides(parts: list[Part]) -> set[str]:
    named = {side for part in parts for side in (*part.placed, part.side)}
    return {LEFT, RIGHT} if BOTH in named else named & {LEFT, RIGHT}


def _starts_with_zone(words: list[Word]) -> bool:
    kinds = [word.kind for word in words[:4]]
    return "placed" in kinds or ("side" in kinds and "zone" in kinds)


def _has_zone(part: Part) -> bool:
    return bool(part.placed or (part.side in (LEFT, RIGHT) and part.zones))


def _start_anew(parts: list[Part], full: bool) -> None:
    if full:
        parts.append(Part(joined="other"))


def _compared_sides(parts: list[Part], after: list[Word]) -> bool:
    """ "right more than left": both sides are involved."""
    sides = [SIDES[word.text] for word in after[:4] if word.kind == "side"]
    return bool(parts[-1].side in (LEFT, RIGHT) and not parts[-1].zones and sides and sides[0] != parts[-1].side)


def _share_sides(parts: list[Part]) -> None:
    """Fills what a part leaves to its neighbours."""
    parts[:] = [part for part in parts if not part.empty]
    for before, part in itertools.pairwise(parts):
        if before.side and not before.zones and part.joined != "and" and set(part.placed) == {before.side}:
            before.side = ""  # left lung: lingular consolidation
    for at, part in enumerate(parts):
        exact = [later for later in parts[at + 1 :] if later.placed or (later.side and later.zones)]
        if part.side == BOTH and not part.zones and _named_sides(exact) == {LEFT, RIGHT}:
            part.side = ""  # bilateral consolidation: right upper lobe and left lower lobe
    parts[:] = [part for part in parts if not part.empty]
    for at, part in enumerate(parts):
        before = parts[at - 1] if at else None
        after = next((later for later in parts[at + 1 :] if later.side or later.placed), None)
        if part.side and not part.zones and not part.unit and after and after.joined == "and" and after.side:
            part.zones, part.unit = list(after.zones), after.unit  # right and left lower lobes
        elif part.zones and not part.side and not part.placed:
            if part.zones == ["middle"] and part.unit.startswith("lobe"):
                part.side = RIGHT  # the left lung has none
            elif not before and part.unit.endswith("s") and after and after.side and after.zones and after.unit:
                part.side = BOTH  # upper lobes and right lower lobe
            elif before and before.side and not before.zones and part.joined != "and":
                part.side, before.side = before.side, ""  # right lung, lower zone
            elif before and (before.side or before.placed) and not (part.joined == "apart" and after):
                part.side = before.side or "".join(before.placed if len(before.placed) == 1 else (BOTH,))
            elif after and after.side and not after.zones and after.joined != "and":
                part.side, after.side = after.side, ""  # lower zones, right more than left
            elif after and after.side:
                part.side = after.side
