"""The sentence as C2FVL reads it: eight numbers in picture sides (C2FVL, ICASSP 2023, section 2.2)."""

from textseg.text.finding import ZONES, Finding

NO_TEXT = (1.0,) * 8
NOTHING = (0.0,) * 8


def eight_numbers(finding: Finding | None, bilateral: bool | None = None) -> tuple[float, ...]:
    """[bilateral, number, left upper, left middle, left lower, right upper, right middle, right lower].

    `finding` is in patient sides, the result in picture sides of the standard display (patient's right on the
    picture's left). None, or a finding *anywhere*, gives eight ones, which leave the network's features as they are; a
    finding that denies everything gives eight zeros.
    `bilateral` is what the sentence says, where it contradicts its own places; None derives it from the sides.
    The number is the count as written, neither scaled nor capped; without one, the number of sides named (at least 1).
    """
    if finding is None or finding.anywhere:
        return NO_TEXT
    if finding.nothing:
        return NOTHING
    picture = finding.located().mirrored()
    sides = int(bool(picture.left)) + int(bool(picture.right))
    both = sides == 2 if bilateral is None else bilateral
    flags = [float(zone in side) for side in (picture.left, picture.right) for zone in ZONES]
    return (float(both), float(finding.count or max(sides, 1)), *flags)
