"""Report English -> Finding: sentences into clauses, each affirming or denying something somewhere.

Rules and tables only, so that every reading can be explained: what a clause names as present is gathered; what it
denies is gathered apart; what it says of things that the models do not know (effusion, tube) is passed over.
"""

from dataclasses import dataclass, field

from textseg.text.finding import ZONES, Finding
from textseg.text.lexicon import CORRECTIONS, COUNTED, HEDGES, HISTORIES
from textseg.text.places import Places, places_of
from textseg.text.words import Word

COUNT_NOUNS = frozenset(COUNTED.split())
BREAKS = ("comma", "but")
CERTAINTY = ("definite", "probable", "possible")


@dataclass
class Gathered:
    """What the clauses of a prompt have said so far, in the sides that the words speak of."""

    places: Places = field(default_factory=dict)
    found: bool = False
    doubtful: Places = field(default_factory=dict)
    denied_all: bool = False
    denied_sides: set[str] = field(default_factory=set)
    denied_zones: Places = field(default_factory=dict)
    others: list[str] = field(default_factory=list)
    sideless: bool = False


def gather(words: list[Word]) -> Gathered:
    """Reads all sentences; nothing is decided or refused here."""
    said = Gathered()
    sentences = [sentence for sentence in _split(words, lambda word: word.kind == "stop") if sentence]
    told = [sentence for sentence in sentences if not _is_history(sentence)]
    for sentence in told or sentences:
        denying = False
        for clause in _clauses(sentence):
            denying = _read_clause(_resolved(clause, said), said, denying)
    if not said.found and said.doubtful and not said.denied_all:
        said.found, said.places = True, said.doubtful
    return said


def _is_history(sentence: list[Word]) -> bool:
    """ "Indication: rule out pneumonia" says what was asked, not what is seen."""
    return sentence[0].text in HISTORIES and any(word.kind == "colon" for word in sentence[:4])


def _resolved(clause: list[Word], said: Gathered) -> list[Word]:
    """ "the contralateral lung" by its side, where one lung was named before."""
    named = [side for side in ("left", "right") if said.places.get(side)]
    if len(named) != 1:
        return clause
    other = "right" if named == ["left"] else "left"
    return [Word(word.typed, other, "side") if word.text == "contralateral" else word for word in clause]


def finding_of(said: Gathered, words: list[Word]) -> Finding:
    """What was gathered as a Finding; the caller has made sure that something was."""
    certainty = "definite"
    for word in words:
        if word.kind == "hedge" and word.text in HEDGES:
            certainty = max(certainty, HEDGES[word.text], key=CERTAINTY.index)
    unread = tuple(word.typed for word in words if word.kind == "unknown")
    asked_only = certainty == "possible" and not said.places and said.denied_all
    if (not said.found or asked_only) and (said.denied_all or said.denied_sides >= {"left", "right"}):
        return Finding(absent=True, unread=unread)
    left, right = (_zones_left(said, side) for side in ("left", "right"))
    return Finding(
        left=left,
        right=right,
        count=count_of(words) if said.found else None,
        absent_left="left" in said.denied_sides and not left,
        absent_right="right" in said.denied_sides and not right,
        certainty=certainty if said.found else "definite",
        unread=unread,
    )


def _zones_left(said: Gathered, side: str) -> tuple[str, ...]:
    """What is named in a lung, less what is excepted there ("both lungs, sparing the apices")."""
    named = said.places.get(side, set())
    kept = named - said.denied_zones.get(side, set())
    return tuple(zone for zone in ZONES if zone in (kept or named))


def count_of(words: list[Word]) -> int | None:
    """The number of areas, where the prompt says it: "three foci", "two patches left, one right" are three."""
    counts, parts_of_it = [], []
    for at, word in enumerate(words):
        if word.kind != "number":
            continue
        after = words[at + 1 : at + 5]
        noun = next((place for place, next_ in enumerate(after) if next_.text in COUNT_NOUNS), None)
        between = ("filler", "weak", "strong", "unknown")
        if noun is not None and all(next_.kind in between for next_ in after[:noun]):
            counts.append(word.number)
        elif counts and after and after[0].kind in ("of", "side") and after[1:2] and after[1].text != "each":
            parts_of_it.append(word.number)
    if sum(parts_of_it) == sum(counts):  # "two areas, one right and one left" are two
        parts_of_it = []
    return sum(counts) + sum(parts_of_it) or None


def _read_clause(clause: list[Word], said: Gathered, denying: bool) -> bool:
    """Adds one clause; returns whether a denial goes on into the next one ("no consolidation, effusion or ...")."""
    kinds = [word.kind for word in clause]
    if not clause or all(kind in ("filler", "and", "of") for kind in kinds):
        return denying
    if any(word.text in CORRECTIONS for word in clause):
        said.places.clear()
    places, sideless = places_of(_own_words(clause), known=bool(said.places))
    named = "strong" in kinds or "weak" in kinds
    goes_on = denying and not places and "clear" not in kinds
    if clause[0].kind == "except" and not places:
        return False
    if {"no", "clear", "except"} & set(kinds) or goes_on:
        _deny(clause, places, said)
        return "no" in kinds or goes_on
    if "other" in kinds and not named:
        said.others += [word.typed for word in clause if word.kind == "other"]
        return False
    if places and not named and "unknown" in kinds:
        said.doubtful = said.doubtful or places  # "chin over the apices": counts where nothing else is named
    elif named or places:
        said.found |= "strong" in kinds or bool(places)
        said.sideless |= sideless
        for side, zones in places.items():
            said.places.setdefault(side, set()).update(zones)
    return False


def _deny(clause: list[Word], places: Places, said: Gathered) -> None:
    kinds = [word.kind for word in clause]
    lungs = any(word.kind == "unit" or word.kind in ("strong", "weak") for word in clause)
    if "rest" in kinds:
        return
    if "other" in kinds and not lungs:
        said.others += [word.typed for word in clause if word.kind == "other"]
        return
    whole = {side for side, zones in places.items() if zones >= set(ZONES)}
    if not places:
        said.denied_all |= lungs or ("clear" in kinds and "unknown" not in kinds)
    elif whole:
        said.denied_sides |= whole
    else:
        for side, zones in places.items():
            said.denied_zones.setdefault(side, set()).update(zones)


def _own_words(clause: list[Word]) -> list[Word]:
    """Without the pieces that place something else ("with a small left effusion")."""
    if not any(word.kind == "other" for word in clause):
        return clause
    pieces = _split(clause, lambda word: word.kind == "and" or word.text in ("with", "without"), keep=True)
    own: list[Word] = []
    for piece in pieces:
        kinds = {word.kind for word in piece}
        if "other" not in kinds or kinds & {"strong"}:
            own += piece
    return own


def _clauses(sentence: list[Word]) -> list[list[Word]]:
    """Cut at commas and but; at "and", "with" and denials where what follows has a polarity of its own."""
    clauses: list[list[Word]] = []
    for piece in _joined(_split(sentence, lambda word: word.kind in BREAKS)):
        start = 0
        for at, word in enumerate(piece):
            before, rest = piece[start:at], piece[at:]
            affirmed = any(word_.kind == "strong" for word_ in before) and not _turned(before)
            linking = word.kind == "and" or word.text == "with"
            turning = word.kind == "no" or (linking and _turns_soon(rest[1:]))
            settled = any(word_.kind == "clear" for word_ in before) and word.kind == "and" and _affirms(rest[1:])
            if (turning and (affirmed or (linking and _subject(before)))) or settled or word.kind == "except":
                clauses.append(before)
                start = at
        clauses.append(piece[start:])
    return [clause for clause in clauses if clause]


def _joined(pieces: list[list[Word]]) -> list[list[Word]]:
    """Pieces that only go on with the place of the one before are put together with it again.

    "upper, middle and lower zones", "right lung, lower zone", "perihilar opacities, both sides".
    """
    joined: list[list[Word]] = []
    for piece in pieces:
        kinds = {word.kind for word in piece}
        before = {word.kind for word in joined[-1]} if joined else set()
        alone = not kinds & {"strong", "weak", "no", "clear", "other", "placed", "more", "except"}
        listed = alone and "zone" in kinds and joined and joined[-1] and joined[-1][-1].kind == "zone"
        refined = alone and "zone" in kinds and "side" not in kinds and "side" in before
        sided = alone and "side" in kinds and "zone" not in kinds and "zone" in before and "side" not in before
        if joined and (listed or refined or sided) and not before & {"no", "clear", "other"}:
            comma = Word(",", ",", "and" if listed else "comma")
            joined[-1] = [*joined[-1], comma, *piece]
        else:
            joined.append(piece)
    return joined


def _turned(words: list[Word]) -> bool:
    return any(word.kind in ("no", "clear") for word in words)


def _turns_soon(words: list[Word]) -> bool:
    """The next words deny something, before anything is affirmed."""
    for word in words:
        if word.kind in ("no", "clear"):
            return True
        if word.kind == "strong":
            return False
    return False


def _affirms(words: list[Word]) -> bool:
    return any(word.kind == "strong" for word in words) and not _turned(words)


def _subject(words: list[Word]) -> bool:
    return any(word.kind in ("strong", "placed") for word in words) and not _turned(words)


def _split(words: list[Word], at: object, keep: bool = False) -> list[list[Word]]:
    pieces: list[list[Word]] = [[]]
    for word in words:
        if at(word):
            pieces.append([word] if keep else [])
        else:
            pieces[-1].append(word)
    return pieces
