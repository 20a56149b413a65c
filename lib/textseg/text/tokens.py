"""Sentences as word numbers, by a word-level vocabulary: that of the canonical grammar, or one collected from data.

The length is fixed (TGCAM's common attention ties a column to a position): [CLS], the words, [SEP], then [PAD]. The
four special numbers are those of CXR-BERT's vocabulary.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textseg.text.vocabulary import NUMBER_WORDS

LENGTH = 24
PAD, UNKNOWN, FIRST, LAST = 0, 1, 2, 3
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
CANONICAL_WORDS = (
    *("bilateral", "unilateral", "pulmonary", "infection", "infected", "area", "areas", "no", "and"),
    *("upper", "middle", "lower", "all", "left", "right", "lung", ",", "."),
    *NUMBER_WORDS.values(),
)
KNOWN_WORDS = (*SPECIAL, *CANONICAL_WORDS)
MOST_WORDS = 4000  # of a collected vocabulary, the most frequent


@dataclass(frozen=True)
class Lost:
    """Words of a sentence that its tokens do not tell, each once, without punctuation marks.

    unknown: those that the vocabulary does not have. cut: those beyond the length.
    """

    unknown: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()

    @classmethod
    def of(cls, unknown: Iterable[str], cut: Iterable[str]) -> "Lost":
        """Of all that is lost the words."""
        return cls(*(tuple(dict.fromkeys(filter(_is_word, words))) for words in (unknown, cut)))


class WordTokens:
    """A sentence as `length` numbers; what does not fit is cut, [SEP] is kept. The empty sentence is [CLS] [SEP]."""

    def __init__(self, words: Sequence[str] = KNOWN_WORDS, length: int = LENGTH) -> None:
        self.words, self.length = tuple(words), length
        self._numbers = {word: number for number, word in enumerate(self.words)}

    def __call__(self, sentence: str) -> tuple[int, ...]:
        numbers = [FIRST, *(self._numbers.get(word, UNKNOWN) for word in words_of(sentence))][: self.length - 1]
        return (*numbers, LAST, *([PAD] * (self.length - 1 - len(numbers))))

    def lost(self, sentence: str) -> Lost:
        """What of a sentence its numbers do not tell."""
        words = words_of(sentence)
        read, cut = words[: self.length - 2], words[self.length - 2 :]
        return Lost.of((word for word in read if word not in self._numbers), cut)


def _is_word(text: str) -> bool:
    return any(letter.isalnum() for letter in text)


def words_of(sentence: str) -> list[str]:
    """The words of a sentence, in lower case, numbers and punctuation marks apart."""
    return re.findall(r"[^\W\d_]+|\d+|[^\w\s]", sentence.lower())


def collected_words(sentences: Iterable[str]) -> tuple[str, ...]:
    """The vocabulary of a data set for people who train on another domain: its words, the most frequent first."""
    counts: dict[str, int] = {}
    for sentence in sentences:
        for word in words_of(sentence):
            counts[word] = counts.get(word, 0) + 1
    return (*SPECIAL, *sorted(counts, key=lambda word: (-counts[word], word))[:MOST_WORDS])
