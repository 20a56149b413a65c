"""Free text -> Finding, for the wording of the public annotation (QaTa-COV19, MosMedData+).

    sentence = ("Bilateral" | "Unilateral") " pulmonary infection, " count " infected area(s), " place [" and " place]
    place    = ("all" | one to three of "upper" "middle" "lower") (" left" | " right") " lung"

Any part may be missing, in any letter case, with the typing mistakes of the published files. What is not understood
is refused or listed, never dropped in silence.
"""

import itertools
import re
import unicodedata
from dataclasses import dataclass

from textseg.errors import OptionError, PromptError
from textseg.text.eight_numbers import eight_numbers
from textseg.text.finding import ZONES, Finding
from textseg.text.vocabulary import (
    FILLER_WORDS,
    FINDING_WORDS,
    LATERALITY_WORDS,
    LUNG_WORDS,
    NUMBERS,
    SIDE_WORDS,
    ZONE_WORDS,
    denies,
    repaired,
)

MAX_LENGTH = 2000
LATERALITIES = ("patient", "picture")
EXAMPLE = "Bilateral pulmonary infection, two infected areas, lower left lung and upper right lung"


@dataclass(frozen=True)
class Reading:
    """A prompt as it was understood.

    finding: in patient sides. bilateral: True or False as the sentence says, None when it does not.
    warnings: sentences for the user.
    """

    finding: Finding
    bilateral: bool | None = None
    warnings: tuple[str, ...] = ()

    def eight_numbers(self) -> tuple[float, ...]:
        """What C2FVL reads, in picture sides; a laterality word that contradicts the places is kept as written."""
        return eight_numbers(self.finding, self.bilateral)


def read_prompt(text: object, laterality: str = "patient") -> Reading:
    """Read one prompt.

    laterality: whose sides the words speak of, "patient" or "picture" (standard display: the picture's left is the
    patient's right). Raises PromptError with an example when the text cannot be used, OptionError for a laterality
    that does not exist.
    """
    check_laterality(laterality)
    text = check_text(text)
    words = [(repaired(word.lower()), word) for word in re.findall(r"\d+|[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text)]
    known = [word for word, _ in words]
    if _denies_everything(known):
        return Reading(Finding(absent=True))
    _refuse_denials(words, text)
    places, unplaced = _places(known)
    _refuse_unplaced_side(known, text)
    bilateral = next((word == "bilateral" for word in known if word in LATERALITY_WORDS), None)
    left, right = _fill_bare_sides(places, bilateral)
    unread = tuple(typed for at, (word, typed) in enumerate(words) if not _understood(word) or at in unplaced)
    finding = Finding(left=left, right=right, count=_count(known), unread=unread)
    if not _says_something(known, finding):
        raise PromptError(_not_understood(text))
    if laterality == "picture":
        finding = finding.mirrored()
    return Reading(finding, bilateral, tuple(_warnings(finding, bilateral)))


def check_laterality(laterality: object) -> str:
    """`laterality` itself, if it is one of the two that exist; else OptionError."""
    if laterality not in LATERALITIES:
        raise OptionError(f"laterality is one of {', '.join(LATERALITIES)}, not {shown(laterality)}.")
    return laterality


def check_text(text: object) -> str:
    """`text` itself, if it is a string of bearable length without control characters; else PromptError."""
    if not isinstance(text, str):
        raise PromptError(f"The prompt must be text, not {type(text).__name__}. For example: {EXAMPLE}.")
    if len(text) > MAX_LENGTH:
        raise PromptError(f"The prompt has {len(text)} characters; {MAX_LENGTH} is the limit. Shorten it.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") and letter not in "\t\n\r" for letter in text):
        raise PromptError("The prompt holds control characters. Type it as plain text; do not paste it from a file.")
    return text


def shown(value: object, limit: int = 300) -> str:
    """A value quoted for a message: the user's own characters, cut at `limit`."""
    text = value if isinstance(value, str) else repr(value)
    return f'"{text}"' if len(text) <= limit else f'"{text[:limit]}..."'


def _not_understood(text: str) -> str:
    return f'This prompt was not understood: {shown(text)}. Write it like this: "{EXAMPLE}".'


def _denies_everything(words: list[str]) -> bool:
    """MosMedData+'s "No pulmonary infection", and nothing else."""
    return words[:1] == ["no"] and words[-1:] == ["infection"] and words[1:-1] in ([], ["pulmonary"])


def _refuse_denials(words: list[tuple[str, str]], text: str) -> None:
    denials = [typed for word, typed in words if denies(word)]
    if denials:
        raise PromptError(
            f'This prompt denies something ("{denials[0]}"), which is understood only as "No pulmonary infection". '
            f"Write only where the infection is. You wrote: {shown(text)}."
        )


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
        elif word in SIDE_WORDS and words[at + 1 : at + 2] and words[at + 1] in LUNG_WORDS:
            places.setdefault(word, []).extend(ZONES if "all" in pending.values() else pending.values())
            pending = {}
        elif word == "and":
            unplaced |= pending.keys()
            pending = {}
    return places, unplaced | pending.keys()


def _refuse_unplaced_side(words: list[str], text: str) -> None:
    """A side word that no "lung" follows might be meant; refuse it instead of marking the wrong lung."""
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word in SIDE_WORDS and following not in LUNG_WORDS:
            raise PromptError(f'Say which lung: "{word} lung", its zones before it. {_not_understood(text)}')


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


def _understood(word: str) -> bool:
    groups = (LATERALITY_WORDS, FINDING_WORDS, ZONE_WORDS, SIDE_WORDS, LUNG_WORDS, FILLER_WORDS, NUMBERS)
    return any(word in group for group in groups) or word.isdecimal()


def _says_something(words: list[str], finding: Finding) -> bool:
    named = "infection" in words or "infected" in words or any(word in LATERALITY_WORDS for word in words)
    lost_zone = any(zone in words for zone in ZONES) and finding.anywhere
    return (named or not finding.anywhere) and not lost_zone


def _warnings(finding: Finding, bilateral: bool | None) -> list[str]:
    warnings = []
    if finding.unread:
        warnings.append(f"Not understood and not used: {', '.join(finding.unread)}.")
    if finding.anywhere:
        warnings.append("No place was named: infection is looked for anywhere in both lungs.")
    elif bilateral and not finding.two_sided:
        warnings.append("The prompt says bilateral but names one lung; the place named is what counts.")
    elif bilateral is False and finding.two_sided:
        warnings.append("The prompt says unilateral but names both lungs; the places named are what counts.")
    return warnings
