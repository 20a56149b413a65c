"""What a person is told about a prompt: why it cannot be used, what was not used, how it was taken."""

import unicodedata

from textseg.text.finding import Finding
from textseg.text.lexicon import FOREIGN, FOREIGN_SIDES
from textseg.text.words import Word, suggestion

EXAMPLE = "Bilateral pulmonary infection, two infected areas, lower left lung and upper right lung"
SUPPORTED = "infection of the lungs (opacity, consolidation, infiltrate, ground glass, pneumonia)"
SUGGESTED = 5  # unknown words for which something like them is looked for
OTHER_SIDES = frozenset(FOREIGN_SIDES.split())
FOREIGN_WORDS = OTHER_SIDES | set(FOREIGN.split())


def shown(value: object, limit: int = 300) -> str:
    """A value quoted for a message: the user's own characters, cut at `limit`."""
    text = value if isinstance(value, str) else repr(value)
    return f'"{text}"' if len(text) <= limit else f'"{text[:limit]}..."'


def is_foreign(text: str, words: list[Word]) -> bool:
    """True for another script, or for a sentence with words that only other languages have."""
    letters = [letter for letter in text if letter.isalpha()]
    latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    spoken = [word for word in words if word.typed.isalpha()]
    foreign = [word for word in spoken if word.typed.lower() in FOREIGN_WORDS]
    unknown = [word for word in spoken if word.kind == "unknown" and word not in foreign]
    strange = len(foreign) + len(unknown)
    mixed = bool(foreign and unknown) and 2 * strange >= len(spoken)
    sided = any(word.typed.lower() in OTHER_SIDES for word in foreign)
    return (bool(letters) and 2 * latin < len(letters)) or len(foreign) >= 2 or mixed or sided


def foreign(text: str) -> str:
    """The refusal of another language."""
    return f'This prompt seems to be in another language; English is understood: {shown(text)}. Like this: "{EXAMPLE}".'


def not_supported(text: str, others: list[str]) -> str:
    """The refusal of a finding that the models do not know."""
    named = ", ".join(dict.fromkeys(other.lower() for other in others))
    return f"The models do not know {named}; they segment {SUPPORTED}. You wrote: {shown(text)}."


def names_picture_sides(text: str) -> str:
    """The refusal of sides of the picture where sides of the patient are expected."""
    return (
        f"This prompt names a side of the picture, and sides are read as the patient's: {shown(text)}. "
        "Name the patient's side, or set the option laterality to picture."
    )


def other_sides(text: str, spoken: str, fixed: list[str]) -> str:
    """The refusal of words whose sides a model does not speak of. fixed: what cannot be exchanged, if known."""
    which = f" ({', '.join(fixed)})" if fixed else ""
    return (
        f"This model reads your words as they stand, and was trained on words that speak of the {spoken}'s sides. "
        f"Left and right of this prompt cannot be exchanged by themselves{which}: {shown(text)}. "
        f"Write it in the {spoken}'s sides and set the option laterality to {spoken}."
    )


def exchanged(words: str, spoken: str) -> str:
    """What is told where left and right of a prompt were exchanged for the model."""
    return f"This model's words speak of the {spoken}'s sides; left and right were exchanged for it: {shown(words)}."


def denies_a_part(text: str) -> str:
    """The refusal of a denial that names a part of a lung alone."""
    return (
        f"This prompt denies something in a part of a lung and names nothing to segment: {shown(text)}. "
        'Write where the infection is, or "No pulmonary infection".'
    )


def not_understood(text: str, words: list[Word]) -> str:
    """The refusal of everything else, with what may have been meant."""
    return f'This prompt was not understood: {shown(text)}.{_meant(words)} Write it like this: "{EXAMPLE}".'


def warnings_for(finding: Finding, words: list[Word], sideless: bool, denied: bool) -> list[str]:
    """Sentences for the user of a prompt that was understood."""
    warnings = []
    if finding.unread:
        warnings.append(f"Not understood and not used: {', '.join(finding.unread)}.{_meant(words)}")
    if finding.anywhere:
        warnings.append("No place was named: infection is looked for anywhere in both lungs.")
    if sideless:
        warnings.append("A zone was named without a side: it is looked for in both lungs.")
    if denied:
        warnings.append("The prompt also denies a finding; what it names as present is what counts.")
    return warnings


def _meant(words: list[Word]) -> str:
    """ " Did you mean ...?", or nothing."""
    unknown = list(dict.fromkeys(word.typed for word in words if word.kind == "unknown"))[:SUGGESTED]
    known = [f"{near} for {shown(typed)}" for typed in unknown if (near := suggestion(typed))]
    return f" Did you mean {', '.join(known)}?" if known else ""
