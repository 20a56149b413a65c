"""Finding -> sentence: the canonical wording for people and for networks.

The canonical sentence is that of the public annotation; `prompt.read_prompt` is its inverse.
"""

import hashlib
import re
import unicodedata

from textseg.text.finding import ZONES, Finding
from textseg.text.sides import speaks_of_sides
from textseg.text.vocabulary import NUMBER_WORDS

NAME_WORDS = 32  # characters of a prompt that a segment's name shows


def canonical(finding: Finding | None) -> str:
    """One sentence for people, in patient sides. No text (None) gives the empty string."""
    if finding is None:
        return ""
    finding = finding.located()
    return _sentence(finding, finding.count or max(1, bool(finding.left) + bool(finding.right)))


def network_sentence(finding: Finding | None) -> str:
    """What a network reads: `canonical` in picture sides of the standard display, silent about an unknown count."""
    return _sentence(finding.located().mirrored(), finding.count) if finding else ""


def _sentence(finding: Finding, count: int | None) -> str:
    if finding.nothing:
        return "No pulmonary infection."
    if finding.anywhere:
        return "Pulmonary infection."
    areas = f"{NUMBER_WORDS.get(count, count)} infected area{'s' if count > 1 else ''}, " if count else ""
    places = [f"{_zones(zones)} {side} lung" for side, zones in _sides(finding) if zones]
    lead = "Bilateral" if finding.two_sided else "Unilateral"
    return f"{lead} pulmonary infection, {areas}{' and '.join(places)}."


def picture_sentence(finding: Finding | None) -> str:
    """What a network reads that was trained on QaTa-COV19 or MosMedData+: the same sentence in picture sides.

    Both sets have one wording; they name the half of the picture as it is displayed, the patient's other side.
    """
    return canonical(finding.mirrored()) if finding else ""


def short_name(finding: Finding | None) -> str:
    """A segment's name: short, ASCII, patient sides, for example "infection L lower, R upper (patient side)"."""
    if finding is None or finding.anywhere:
        return "infection anywhere"
    if finding.nothing:
        return "no infection"
    finding = finding.located()
    places = [f"{side[0].upper()} {'/'.join(_short_zones(zones))}" for side, zones in _sides(finding) if zones]
    count = f", {finding.count} areas" if finding.count and finding.count > 1 else ""
    return f"infection {', '.join(places)} (patient side{count})"


def words_name(words: str, laterality: str) -> str:
    """A segment's name from a prompt that was read as it stands: "words: polyp, left (patient side)"; short, ASCII.

    laterality: whose sides the words speak of. What was cut or left out is told by "..." and a number that differs from
    prompt to prompt, so that a name stands for one prompt.
    """
    if not words.strip():
        return "words: none"
    ascii_words = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
    shown = " ".join(re.sub(r"[^ -~]", " ", ascii_words).split())[:NAME_WORDS].strip()
    changed = "" if shown == words else f"... #{hashlib.sha256(words.encode()).hexdigest()[:4]}"
    return f"words: {shown}{changed}" + (f" ({laterality} side)" if speaks_of_sides(words) else "")


def _sides(finding: Finding) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (("left", finding.left), ("right", finding.right))


def _zones(zones: tuple[str, ...]) -> str:
    return "all" if zones == ZONES else " ".join(zones)


def _short_zones(zones: tuple[str, ...]) -> tuple[str, ...]:
    return ("all",) if zones == ZONES else zones
