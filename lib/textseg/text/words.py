"""Text -> words, each with its kind: spelling repaired, written forms unified. The unknown stays as it was typed."""

import itertools
import re
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from textseg.text.lexicon import KINDS, LONG_WORDS, NUMBER_VALUES
from textseg.text.written_forms import REWRITTEN

TOKENS = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+|[.!;:,\n()/+&?]| - ")
MARKS = {
    **dict.fromkeys(".!;\n", "stop"),
    **dict.fromkeys(",()-", "comma"),
    **dict.fromkeys("/+&", "and"),
    ":": "colon",
}
# What turns a meaning round is not guessed from afar.
STRICT = ("side", "no", "clear", "placed", "except", "rest", "but")


@dataclass(frozen=True)
class Word:
    """typed: as in the prompt. text: repaired, lower case. kind: as in the lexicon, or stop, comma, colon, unknown."""

    typed: str
    text: str
    kind: str

    @property
    def number(self) -> int:
        """Of a word of kind number."""
        return NUMBER_VALUES[self.text] if self.text in NUMBER_VALUES else int(self.text[:6])


def words_of(text: str) -> list[Word]:
    """All words and stops of a text, in their order."""
    for pattern, word in REWRITTEN:
        text = pattern.sub(word, text)
    found = [_word(token) for token in TOKENS.findall(text)]
    return [word for at, word in enumerate(found) if not _abbreviation_stop(found, at)]


def suggestion(word: str) -> str:
    """The known word nearest to an unknown one, or ""."""
    if len(word) < 5:
        return ""
    near = process.extractOne(word.lower(), _of_length(len(word), 2), scorer=OSA.distance, score_cutoff=2)
    return near[0] if near else ""


def _word(token: str) -> Word:
    mark = token.strip(" ") or token
    if mark in MARKS:
        return Word(token, mark, MARKS[mark])
    if mark == "?":
        return Word(token, "possible", "hedge")
    if token.isdecimal():
        return Word(token, token, "number")
    lower = token.lower()
    if lower.endswith(("n't", "n\u2019t")):
        return Word(token, lower, "no")
    text = _repaired(lower)
    return Word(token, text, KINDS.get(text, "unknown"))


def _repaired(word: str) -> str:
    """The known word at an edit distance of one (two from eight letters on); a swap of neighbours is one edit.

    Words that turn a meaning round, and sides, are read only at distance one and from their first letter on ("bright
    lung" is no right lung). Between two kinds of word nothing is guessed.
    """
    if word in KINDS or len(word) < 4 or not word.isascii():
        return word
    allowed = 2 if len(word) >= 8 else 1
    near = process.extract(word, _of_length(len(word), allowed), scorer=OSA.distance, score_cutoff=allowed, limit=8)
    near = [(known, far) for known, far, _ in near if _may_be(word, known, far)]
    best = [known for known, far in near if far == min(distance for _, distance in near)]
    return best[0] if best and len({KINDS[known] for known in best}) == 1 else word


def _of_length(length: int, within: int) -> tuple[str, ...]:
    return tuple(itertools.chain(*(LONG_WORDS.get(near, ()) for near in range(length - within, length + within + 1))))


def _may_be(word: str, known: str, far: float) -> bool:
    if KINDS[known] in STRICT or len(word) == 4:
        swapped = sorted(word) == sorted(known)
        return far <= 1 and (word[0] == known[0] or swapped)
    return True


def _abbreviation_stop(words: list[Word], at: int) -> bool:
    """The full stop behind a single letter or a short side (R. lung, Lt. base) ends no sentence."""
    before = words[at - 1].typed.lower() if at else ""
    return words[at].text == "." and (before in ("lt", "rt", "bilat") or (len(before) == 1 and before.isalpha()))
