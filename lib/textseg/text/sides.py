"""Side words as they stand in a text, for models that read people's own words: found, or left and right exchanged.

Only words that the lexicon knows are exchanged, all others stay to the letter; nothing is repaired or guessed.
"""

import re
from types import MappingProxyType

from textseg.text.hints import OTHER_SIDES
from textseg.text.lexicon import PLACED, SIDES
from textseg.text.words import Word, words_of

PAIRS = (("left", "right"), ("l", "r"), ("lt", "rt"), ("lft", "rgt"), ("leftsided", "rightsided"))
LETTER = MappingProxyType({"l": "r", "r": "l"})


def _others() -> dict[str, str]:
    others = {word: other for left, right in PAIRS for word, other in ((left, right), (right, left))}
    return others | {word: other for word in PLACED if (other := LETTER.get(word[0], "") + word[1:]) in PLACED}


OTHERS = MappingProxyType(_others())  # side word -> the same of the other side; RUL -> LUL
SIDE_WORD = re.compile(
    rf"(?<![^\W_])(?:(?ai:{'|'.join(sorted(OTHERS, key=len, reverse=True))})(?![^\W_]|['\u2019][^\W_])"
    r"|(?ai:(?:left|right)(?=upper|middle|lower|lobe|lung|zone)))"
)


def mirrored_words(text: str) -> str:
    """A text with the words of its sides exchanged, in their own case: "Left base, RUL" is "Right base, LUL"."""
    return SIDE_WORD.sub(_other, text)


def named_sides(text: str) -> set[str]:
    """Which of left and right a text names in English, misspelt ones and those of "bilateral" and "lingula" too."""
    return set().union(*(_sides_of(word) for word in words_of(text)))


def speaks_of_sides(text: str) -> bool:
    """Whether a text names a side, in English or by a word of another language that is known for one."""
    return bool(named_sides(text) or fixed_sides(text))


def fixed_sides(text: str) -> list[str]:
    """The words that name one side and that `mirrored_words` leaves: misspelt, "lingula", or of another language."""
    others = words_of(SIDE_WORD.sub(" ", text))
    return [word.typed for word in others if len(_sides_of(word)) == 1 or word.typed.lower() in OTHER_SIDES]


def _sides_of(word: Word) -> set[str]:
    if word.kind == "side":
        return {"left", "right"} if SIDES[word.text] == "both" else {SIDES[word.text]}
    return {side for side, _ in PLACED[word.text]} if word.kind == "placed" else set()


def _other(found: re.Match) -> str:
    word, other = found[0], OTHERS[found[0].lower()]
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other
