"""Free text -> Finding: the public annotation's wording to the letter, all other report English by its clauses.

What is not understood is refused or listed, never dropped in silence.
"""

import re
import unicodedata
from dataclasses import dataclass

from textseg.errors import OptionError, PromptError
from textseg.text import hints
from textseg.text.eight_numbers import eight_numbers
from textseg.text.english import Gathered, finding_of, gather
from textseg.text.finding import Finding
from textseg.text.hints import EXAMPLE, shown
from textseg.text.sides import fixed_sides, mirrored_words
from textseg.text.template import read_template
from textseg.text.words import Word, words_of

MAX_LENGTH = 2000
PICTURE_SIDES = re.compile(
    r"\b(left|right) (side |half |part )?of the (image|picture|film|screen|display)\b"
    r"|\b(image|picture|viewer|screen)('?s)?[ -](left|right)\b",
    re.IGNORECASE,
)
LATERALITIES = ("patient", "picture")


@dataclass(frozen=True)
class Reading:
    """A prompt as it was understood.

    finding: in patient sides. bilateral: True or False as a sentence of the public wording says it, else None.
    warnings: sentences for the user. words: for a model that reads the words themselves, those words; then nothing was
    understood, and finding is None.
    """

    finding: Finding | None
    bilateral: bool | None = None
    warnings: tuple[str, ...] = ()
    words: str = ""

    def eight_numbers(self) -> tuple[float, ...]:
        """What C2FVL reads, in picture sides; a laterality word that contradicts the places is kept as written."""
        return eight_numbers(self.finding, self.bilateral)


def read_prompt(text: object, laterality: str = "patient", spoken: str | None = None) -> Reading:
    """Read one prompt.

    laterality: whose sides the words speak of, "patient" or "picture" (standard display: the picture's left is the
    patient's right). spoken: for a model that reads the words themselves, whose sides they spoke of in its training:
    nothing is understood, and the words are put into those sides. Raises PromptError with an example when the text
    cannot be used, OptionError for a laterality that does not exist or words that cannot be put into other sides.
    """
    check_laterality(laterality)
    text = check_text(text)
    if spoken is not None:
        return _verbatim(text, laterality, check_laterality(spoken))
    if laterality == "patient" and PICTURE_SIDES.search(text):
        raise PromptError(hints.names_picture_sides(text))
    template = read_template(text)
    if template:
        finding, bilateral = template
        warnings = hints.warnings_for(finding, [], False, False) + _laterality_warnings(finding, bilateral)
    else:
        bilateral = None
        finding, warnings = _read_english(text)
    return Reading(finding.mirrored() if laterality == "picture" else finding, bilateral, tuple(warnings))


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


def _verbatim(text: str, laterality: str, spoken: str) -> Reading:
    """The words themselves, their sides exchanged where they speak of other sides than the model's."""
    if laterality == spoken:
        return Reading(None, words=text)
    fixed = fixed_sides(text)
    if fixed or PICTURE_SIDES.search(text) or hints.is_foreign(text, words_of(text)):
        raise OptionError(hints.other_sides(text, spoken, fixed))
    words = mirrored_words(text)
    return Reading(None, warnings=() if words == text else (hints.exchanged(words, spoken),), words=words)


def _read_english(text: str) -> tuple[Finding, list[str]]:
    words = words_of(text)
    said = gather(words)
    refusal = _refusal(text, words, said)
    if refusal:
        raise PromptError(refusal)
    finding = finding_of(said, words)
    denied = said.found and (said.denied_all or any(side in said.denied_sides for side in said.places))
    return finding, hints.warnings_for(finding, words, said.sideless, denied)


def _refusal(text: str, words: list[Word], said: Gathered) -> str:
    """Why the text cannot be used; "" when it can."""
    if hints.is_foreign(text, words):
        return hints.foreign(text)
    if said.found or said.denied_all or said.denied_sides:
        return ""
    if said.denied_zones:
        return hints.denies_a_part(text)
    return hints.not_supported(text, said.others) if said.others else hints.not_understood(text, words)


def _laterality_warnings(finding: Finding, bilateral: bool | None) -> list[str]:
    if bilateral and not finding.two_sided and not finding.anywhere:
        return ["The prompt says bilateral but names one lung; the place named is what counts."]
    if bilateral is False and finding.two_sided:
        return ["The prompt says unilateral but names both lungs; the places named are what counts."]
    return []
