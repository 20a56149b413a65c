"""Report English -> Finding: each clause affirms or denies something somewhere.

Rules and tables only, so that every reading can be explained: what a clause names as present is gathered; what it
denies is gathered apart; what it says of things that the models do not know (effusion, tube) is passed over.
"""

from dataclasses import dataclass, field

from textseg.text.clauses import TURNING, clauses_of, kinds_of, sentences_of, split
from textseg.text.finding import ZONES, Finding
from textseg.text.lexicon import ANATOMY, BODY, CAUSES, COUNTED, HEDGES, NEUTRAL, OLD
from textseg.text.places import Places, add_places, places_of
from textseg.text.words import Word

COUNT_NOUNS = frozenset(COUNTED.split())
CERTAINTY = ("definite", "probable", "possible")


@dataclass
class Gathered:
    """What the clauses of a prompt have said so far, in the sides that the words speak of.

    doubtful: places named beside unknown words only. denied: what the clause before denied ("", all, left, right).
    asked: something was only asked for ("?pneumonia"), and then denied.
    """

    places: Places = field(default_factory=dict)
    found: bool = False
    definite: bool = False
    doubtful: Places = field(default_factory=dict)
    denied_all: bool = False
    denied_sides: set[str] = field(default_factory=set)
    denied_zones: Places = field(default_factory=dict)
    denied: str = ""
    asked: bool = False
    others: list[str] = field(default_factory=list)
    sideless: bool = False


def gather(words: list[Word]) -> Gathered:
    """Reads all sentences; nothing is decided or refused here."""
    said = Gathered()
    for sentence in sentences_of(words):
        denying, said.denied = False, ""
        for clause in clauses_of(sentence):
            denying = _read_clause(_resolved(clause, said), said, denying)
    if not said.found and said.doubtful and not said.denied_all:
        said.found, said.places = True, said.doubtful
    return said


def finding_of(said: Gathered, words: list[Word]) -> Finding:
    """What was gathered as a Finding; the caller has made sure that something was."""
    certainty = "definite"
    for word in words:
        if word.kind == "hedge" and word.text in HEDGES:
            certainty = max(certainty, HEDGES[word.text], key=CERTAINTY.index)
    unread = tuple(word.typed for word in words if word.kind == "unknown")
    if said.asked or (not said.found and (said.denied_all or said.denied_sides >= {"left", "right"})):
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


def _zones_left(said: Gathered, side: str) -> tuple[str, ...]:
    """What is named in a lung, less what is excepted there ("both lungs, sparing the apices")."""
    named = said.places.get(side, set())
    kept = named - said.denied_zones.get(side, set())
    return tuple(zone for zone in ZONES if zone in (kept or named))


def _resolved(clause: list[Word], said: Gathered) -> list[Word]:
    """ "the contralateral lung" by its side, where one lung was named before."""
    named = [side for side in ("left", "right") if said.places.get(side)]
    if len(named) != 1:
        return clause
    other = "right" if named == ["left"] else "left"
    return [Word(word.typed, other, "side") if word.text == "contralateral" else word for word in clause]


def _read_clause(clause: list[Word], said: Gathered, denying: bool) -> bool:
    """Adds one clause; returns whether a denial goes on into the next one ("no consolidation, effusion or ...")."""
    kinds = kinds_of(clause)
    if kinds <= {"filler", "and", "of", "comma"}:
        return denying
    if clause[0].text in ("previously", "formerly"):
        return False
    places, sideless = places_of(_own_words(clause), known=bool(said.places))
    if clause[0].kind == "except":
        _except(places, sideless, kinds, said)
        return False
    goes_on = denying and not places and not kinds & {"clear", "rest"}
    if kinds & set(TURNING) or goes_on:
        _deny(clause, places, said)
        return "no" in kinds or goes_on
    said.denied = ""
    if ("other" in kinds and "strong" not in kinds) or _is_of_another(clause):
        said.others += [word.typed for word in clause if word.kind == "other"]
    elif places and not kinds & {"strong", "weak"} and "unknown" in kinds:
        said.doubtful = said.doubtful or places  # "chin over the apices": counts where nothing else is named
    elif kinds & {"strong", "weak"} or places:
        _affirm(places, sideless, kinds, said)
    return False


def _affirm(places: Places, sideless: bool, kinds: set[str], said: Gathered) -> None:
    found = "strong" in kinds or bool(places)
    said.found |= found
    said.definite |= found and "hedge" not in kinds
    said.sideless |= sideless
    add_places(said.places, places)


def _except(places: Places, sideless: bool, kinds: set[str], said: Gathered) -> None:
    """After a denial, or with a finding, what is excepted is there; after what is there, it is taken away."""
    if said.denied or "strong" in kinds:
        if sideless and said.denied in ("left", "right"):
            places = {said.denied: places.get(said.denied, set())}
        said.denied_sides -= set(places)
        _affirm(places, False, kinds, said)
        return
    add_places(said.denied_zones, places)


def _deny(clause: list[Word], places: Places, said: Gathered) -> None:
    kinds = kinds_of(clause)
    lungs = bool(kinds & {"unit", "strong", "weak"})
    if "rest" in kinds:
        return
    if "other" in kinds and not lungs:
        said.others += [word.typed for word in clause if word.kind == "other"]
        return
    whole = {side for side, zones in places.items() if zones >= set(ZONES)}
    if not places:
        if lungs or ("clear" in kinds and "unknown" not in kinds):
            said.denied_all, said.denied = True, "all"
            said.asked |= said.found and not said.definite
    elif whole:
        said.denied_sides |= whole
        said.denied = next(iter(whole)) if len(whole) == 1 else "all"
        said.asked |= said.found and not said.definite and len(whole) > 1
    else:
        add_places(said.denied_zones, places)


def _is_of_another(clause: list[Word]) -> bool:
    """ "opacity is atelectasis", "opacity due to effusion"; old scars: no infection is named."""
    kinds = kinds_of(clause)
    if "strong" not in kinds:
        return any(word.text in (*OLD, *NEUTRAL) for word in clause)
    if any(word.text in BODY for word in clause):
        return True
    strong = max(at for at, word in enumerate(clause) if word.kind == "strong")
    after = clause[strong + 1 :]
    caused = any(word.text in CAUSES for word in after)
    return caused and "other" in kinds_of(after) and not any(word.kind == "and" for word in after)


def _own_words(clause: list[Word]) -> list[Word]:
    """Without the pieces that place something else ("with a small left effusion"), and without landmarks."""
    if not kinds_of(clause) & {"strong", "weak"} and any(word.text in ANATOMY for word in clause):
        return []
    if "other" not in kinds_of(clause):
        return clause
    pieces = split(clause, lambda word: word.kind == "and" or word.text in ("with", "without"), keep=True)
    enough = {"strong", "unit"} if kinds_of(clause) & set(TURNING) else {"strong"}
    kept = [piece for piece in pieces if "other" not in kinds_of(piece) or kinds_of(piece) & enough]
    return [word for piece in kept for word in piece]
