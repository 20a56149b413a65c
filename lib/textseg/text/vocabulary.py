"""The words of the public annotation grammar (QaTa-COV19, MosMedData+), and their spelling repair."""

from rapidfuzz.distance import OSA

NUMBERS = {
    word: number
    for number, word in enumerate(("one", "two", "three", "four", "five", "six", "seven", "eight", "nine"), start=1)
}
NUMBER_WORDS = {number: word for word, number in NUMBERS.items()}
ZONE_WORDS = ("upper", "middle", "lower", "all")
SIDE_WORDS = ("left", "right")
LATERALITY_WORDS = ("bilateral", "unilateral")
FINDING_WORDS = ("pulmonary", "infection", "infected", "area", "areas")
LUNG_WORDS = ("lung", "lungs")
FILLER_WORDS = ("and", "in", "the", "of", "a", "with", "zone", "zones")
# Words that turn a meaning round. They are known so that no sentence with one is read as its opposite.
DENIAL_WORDS = ("no", "not", "nor", "none", "never", "free", "clear", "cleared", "resolved", "cannot")
LONG_DENIAL_WORDS = ("without", "normal", "absent", "denies", "negative")
VOCABULARY = (
    *LATERALITY_WORDS,
    *FINDING_WORDS,
    *ZONE_WORDS,
    *SIDE_WORDS,
    *LUNG_WORDS,
    *NUMBERS,
    *LONG_DENIAL_WORDS,
    *FILLER_WORDS,
)


def repaired(word: str) -> str:
    """The word itself, or for one of four letters or more the vocabulary word at edit distance one.

    A swap of neighbouring letters counts as one edit. Short words and digits come back as they are. A side is only
    read from a word with its first letter ("bright lung" is no right lung), and the short denials only as they are
    written ("bone" is not "none").
    """
    if word in VOCABULARY or word in DENIAL_WORDS or len(word) < 4 or not word.isalpha():
        return word
    near = (known for known in VOCABULARY if len(known) >= 4 and OSA.distance(word, known, score_cutoff=1) <= 1)
    return next((known for known in near if known not in SIDE_WORDS or known[0] == word[0]), word)
