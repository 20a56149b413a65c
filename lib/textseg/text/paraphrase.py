"""One finding in many clinical wordings: for the training of text encoders, and to test the reader against itself."""

import random

from textseg.text.finding import ZONES, Finding

FINDINGS = (
    "consolidation",
    "opacity",
    "airspace opacity",
    "infiltrate",
    "ground-glass opacity",
    "pneumonia",
    "infection",
)
LOBES = {
    "upper": ("upper lobe", "upper zone", "apex"),
    "middle": ("mid zone",),
    "lower": ("lower lobe", "lower zone", "base"),
}
BANDS = {"upper": "upper", "middle": "mid", "lower": "lower"}
SHORT = {
    "right": {"upper": "RUL", "middle": "RML", "lower": "RLL"},
    "left": {"upper": "LUL", "middle": "lingula", "lower": "LLL"},
}
DENIALS = (
    "No pulmonary infection.",
    "No focal consolidation.",
    "Lungs are clear.",
    "No evidence of pneumonia.",
    "Clear lungs bilaterally.",
    "No airspace opacity.",
)


def paraphrase(finding: Finding, seed: int) -> str:
    """The finding in one of many wordings, patient sides; the same seed gives the same one.

    `prompt.read_prompt` reads it as the same finding, but for what it does not say: a count, a certainty.
    """
    choose = random.Random(seed)
    if finding.nothing:
        return choose.choice(DENIALS)
    noun = choose.choice(FINDINGS)
    if finding.anywhere:
        return choose.choice((f"Patchy {noun}.", noun, f"There is {noun}.", f"Findings of {noun}"))
    clear = _clear(finding, choose)
    sides = {"left": finding.left, "right": finding.right}
    places = [place for side, zones in sides.items() if zones for place in _worded(side, zones, choose)]
    if not places:
        return clear.strip()
    if finding.left == finding.right and choose.random() < 0.5:
        return _both(finding.left, noun, choose)
    joined = " and the ".join(places)
    wordings = (
        f"{noun.capitalize()} in the {joined}.",
        f"There is {noun} involving the {joined}.",
        f"{', '.join(places)} {noun}.",
        f"Heart size normal. Patchy {noun} in the {joined}.",
    )
    return choose.choice(wordings) + clear


def _clear(finding: Finding, choose: random.Random) -> str:
    denied = [side.title() for side in ("left", "right") if getattr(finding, f"absent_{side}")]
    return "".join(choose.choice((f" {side} lung is clear.", f" {side} lung: clear.")) for side in denied)


def _worded(side: str, zones: tuple[str, ...], choose: random.Random) -> list[str]:
    if zones == ZONES:
        return [choose.choice((f"{side} lung", f"whole {side} lung", f"{side} hemithorax"))]
    if choose.random() < 0.3:
        return [SHORT[side][zone] for zone in zones]
    names = [choose.choice(LOBES[zone]) for zone in zones]
    if choose.random() < 0.5:
        return [f"{side} {name}" for name in names]
    return [f"{name} of the {side} lung" for name in names]


def _both(zones: tuple[str, ...], noun: str, choose: random.Random) -> str:
    if zones == ZONES:
        wordings = (f"Bilateral {noun}.", f"{noun.capitalize()} in both lungs.", f"Diffuse bilateral {noun}.")
        return choose.choice(wordings)
    named = " and ".join(BANDS[zone] for zone in zones)
    return choose.choice((f"Bilateral {named} zone {noun}.", f"{noun.capitalize()} in both {named} zones."))
