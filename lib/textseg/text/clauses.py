"""Sentences into clauses: each a place and what is said of it, with one polarity.

RLL consolidation | left lung clear          Left lung, heart and mediastinum: normal
Lungs clear | except left base consolidation          no opacity in the upper, middle or lower zone
"""

import itertools
from collections.abc import Callable

from textseg.text.lexicon import CORRECTIONS, ENDINGS, HISTORIES, STUDIES
from textseg.text.places import APART
from textseg.text.words import Word

PLACE = ("side", "zone", "placed", "unit")
NAMING = ("strong", "weak", "other")
TURNING = ("no", "clear")


def sentences_of(words: list[Word]) -> list[list[Word]]:
    """The sentences that speak of the picture; those that tell the history only where there are no others.

    What stands before "sorry" or "correction" was taken back.
    """
    sentences = [sentence for sentence in split(words, lambda word: word.kind == "stop") if sentence]
    told = [sentence for sentence in sentences if not _is_history(sentence)]
    return [_corrected(sentence) for sentence in told or sentences]


def clauses_of(sentence: list[Word]) -> list[list[Word]]:
    """One clause for each place that something is said of; an exception begins with its word."""
    pieces = [
        piece
        for part in split(sentence, lambda word: word.kind == "comma")
        for piece in split(part, lambda word: word.kind == "but", keep=True)
        if piece
    ]
    clauses = [clause for piece in _attached(pieces) for clause in _cut(piece)]
    return [clause for clause in clauses if clause]


def split(words: list[Word], at: Callable[[Word], bool], keep: bool = False) -> list[list[Word]]:
    """Cut at every word that `at` is true for; keep: the word begins the next piece."""
    pieces: list[list[Word]] = [[]]
    for word in words:
        if at(word):
            pieces.append([word] if keep else [])
        else:
            pieces[-1].append(word)
    return pieces


def kinds_of(words: list[Word]) -> set[str]:
    """The kinds of word that occur."""
    return {word.kind for word in words}


def _is_history(sentence: list[Word]) -> bool:
    """ "Indication: rule out pneumonia", "the prior study showed ...": what was asked or seen before."""
    texts = [word.text for word in sentence]
    headed = texts[0] in HISTORIES and (any(word.kind == "colon" for word in sentence[:4]) or "of" in texts[1:2])
    before = any(old in ("prior", "previous") and study in STUDIES for old, study in itertools.pairwise(texts))
    return headed or (before and bool({"showed", "demonstrated", "revealed", "had"} & set(texts)))


def _corrected(sentence: list[Word]) -> list[Word]:
    last = max((at for at, word in enumerate(sentence) if word.text in CORRECTIONS), default=-1)
    return sentence[last + 1 :]


def _attached(pieces: list[list[Word]]) -> list[list[Word]]:
    """A piece that is a place alone goes with what is said next of it, the last one with what was said before; a piece
    that only denies ("RLL pneumonia, resolved") goes with what it denies.
    """
    attached: list[list[Word]] = []
    waiting: list[Word] = []
    for piece in pieces:
        kinds = kinds_of(piece)
        if _is_bare(piece):
            waiting = _with_comma(waiting, piece)
        elif waiting and _denies_its_own_place(piece):
            attached += [waiting, piece]
            waiting = []
        elif attached and not waiting and _only_turns(piece) and not kinds_of(attached[-1]) & {*TURNING, "other"}:
            attached[-1] = _with_comma(attached[-1], piece)
        elif waiting and attached and "other" in kinds and not kinds & {"strong", "weak", *TURNING}:
            attached[-1] = _with_comma(attached[-1], waiting)
            waiting = []
            attached.append(piece)
        else:
            attached.append(_with_comma(waiting, piece))
            waiting = []
    if waiting and attached and waiting[0].kind != "but":
        attached[-1] = [*waiting, Word(",", APART, "comma"), *attached[-1]]
    elif waiting:
        attached.append(waiting)
    return attached


def _is_bare(piece: list[Word]) -> bool:
    kinds = kinds_of(piece)
    more = {*NAMING, *TURNING, "more", "except", "hedge", "rest", "unknown"}
    return bool(kinds & set(PLACE)) and not kinds & more


def _only_turns(words: list[Word]) -> bool:
    """ "resolved", "none seen": a denial of what stands before."""
    others = [word for word in words if word.kind not in TURNING]
    return len(others) < len(words) and all(word.text in ENDINGS for word in others)


def _denies_its_own_place(piece: list[Word]) -> bool:
    return _first_kind(piece, ("filler", "but")) == "no" and bool(kinds_of(piece) & {"side", "placed"})


def _with_comma(before: list[Word], piece: list[Word]) -> list[Word]:
    """Joined, as a list where a place follows a place, else by a comma."""
    if not before:
        return piece
    first = _first_kind(piece, ("filler", "of"))
    listed = before[-1].kind in ("zone", "placed", "unit") and first in ("zone", "side", "placed", "and")
    listed = listed and not (first == "zone" and before[-1].kind == "unit" and "side" not in kinds_of(piece))
    return [*before, Word(",", ",", "and" if listed else "comma"), *piece]


def _cut(piece: list[Word]) -> list[list[Word]]:
    """Cut where what follows has a polarity, or a place and a finding, of its own."""
    clauses, start = [], 0
    for at, word in enumerate(piece):
        before, rest = piece[start:at], piece[at:]
        if before and (word.kind == "except" or _begins_anew(word, before, rest)):
            clauses.append(before)
            start = at
    return [*clauses, piece[start:]]


def _begins_anew(word: Word, before: list[Word], rest: list[Word]) -> bool:
    said, turned = "strong" in kinds_of(before), bool(kinds_of(before) & set(TURNING))
    after = rest[1:]
    if word.kind == "no":
        return said and not turned and not _only_turns(rest)
    if word.text == "there" and after and after[0].text in ("is", "are"):
        return bool(kinds_of(before) & {"strong", "other", *TURNING})
    if word.kind == "and" or word.text == "with":
        cleared = "clear" in kinds_of(before) or (
            word.text == "and" and _first_kind(after, ("filler", "of")) in ("side", "placed")
        )
        denies = said and not turned and _polarity(after) in TURNING and not _only_turns(after)
        return denies or (turned and cleared and _polarity(after) == "strong")
    starts = word.kind in ("side", "placed") or (word.kind == "zone" and before[-1].kind not in PLACE)
    if starts and turned and before[-1].kind == "other" and _polarity(rest) == "strong":
        return True
    if not starts or before[-1].kind in ("of", "and", "no") or (before[-1].text == "the" and before[-2:-1] != []):
        return False
    placed = bool(kinds_of(before) & set(PLACE))
    complete = placed and bool(kinds_of(before) & {"strong", "clear"}) and (before[-1].kind != "side")
    return complete and bool(kinds_of(rest) & {"strong", "clear", "no"}) and (turned or _polarity(rest) in TURNING)


def _first_kind(words: list[Word], passed_over: tuple[str, ...]) -> str:
    return next((word.kind for word in words if word.kind not in passed_over), "")


def _polarity(words: list[Word]) -> str:
    """What comes first in the words: a finding (strong) or a denial (no, clear)."""
    return next((word.kind for word in words if word.kind in ("strong", *TURNING)), "")
