"""The gate: a candidate takes the served version's place only where it is shown to be no worse, words included.

Both are scored by `engine.evaluate` on the same pictures: the hold-out of corrected ones, and the reference set that no
submission can reach.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import bootstrap

from textseg.learning.measured import Measured

ENOUGH = 8  # held-out pictures from which their mean says something by itself
REFERENCE_FALL, DECILE_FALL, SENSITIVITY_KEPT, LOWER_BOUND = 0.01, 0.05, 0.8, -0.02
BAD_LABELS = 0.03  # fall of the reference set at the end of a candidate's way that says so
RESAMPLES, CONFIDENCE = 5000, 0.95


@dataclass(frozen=True)
class Standing:
    """One model on both sets."""

    holdout: Measured
    reference: Measured


@dataclass(frozen=True)
class Judgement:
    """passed: the candidate may serve. reasons: why, or why not, as parts of a sentence. figures: JSON-ready."""

    passed: bool
    reasons: tuple[str, ...]
    figures: dict[str, Any]

    def dice(self) -> dict[str, float]:
        """The candidate's mean Dice per image on both sets, where it was scored on any picture."""
        sets = {"hold-out": "holdout", "reference": "reference"}
        scores = {name: self.figures["candidate"][key]["dice_image"] for name, key in sets.items()}
        return {name: score for name, score in scores.items() if score is not None}

    def sentence(self, version: str) -> str:
        """What people read. version: the new one, or the one that goes on serving."""
        return f"{'published' if self.passed else 'kept'} {version}: {'; '.join(self.reasons)}"


def judge(served: Standing, candidate: Standing) -> Judgement:
    """Whether the candidate may take the served version's place."""
    gain = margin(served.holdout, candidate.holdout)
    faults = [*_words_faults(served, candidate), *_reference_faults(served, candidate), *_holdout_faults(gain)]
    faults += _decile_faults(served, candidate)
    return Judgement(not faults, tuple(faults) or (_gain(gain, served, candidate),), _figures(served, candidate, gain))


@dataclass(frozen=True)
class Margin:
    """Candidate minus served, mean Dice on the hold-out, with its paired bootstrap interval; None without pictures."""

    pictures: int
    mean: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def weak(self) -> bool:
        """Too few pictures to go by."""
        return self.pictures < ENOUGH


def margin(served: Measured, candidate: Measured) -> Margin:
    """Of one model over another on the same pictures."""
    gains = candidate.by_picture - served.by_picture
    if not len(gains):
        return Margin(0)
    if np.ptp(gains) == 0:
        return Margin(len(gains), *(float(gains[0]),) * 3)
    interval = bootstrap(
        (gains,), np.mean, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=0
    ).confidence_interval
    return Margin(len(gains), float(gains.mean()), float(interval.low), float(interval.high))


def _words_faults(served: Standing, candidate: Standing) -> list[str]:
    before, after = (standing.holdout + standing.reference for standing in (served, candidate))
    broken = sum(new and not old for old, new in zip(before.denied, after.denied, strict=True))
    faults = [f"something is drawn on {broken} pictures whose prompt denies any, and was not before"] if broken else []
    faults += _power_faults(before, after)
    # Drawn pictures obey easily: among them it would go unseen that the words lose their power over real ones.
    return faults + _power_faults(served.holdout, candidate.holdout, " on the held-out pictures", ENOUGH)


def _power_faults(before: Measured, after: Measured, where: str = "", least: int = 1) -> list[str]:
    """Where the words lose their power over masks. least: questions that must have been asked."""
    faults = []
    for name, asked, old, new in (
        ("sensitivity", before.right, before.sensitivity, after.sensitivity),
        ("share on the asked side", before.shares, before.share, after.share),
    ):
        if len(asked) >= least and old > 0 and new < SENSITIVITY_KEPT * old:
            faults.append(f"prompts no longer matter{where}, {name} {old:.2f} -> {new:.2f}")
    return faults


def goes_too_far(served: Standing, reference: Measured, share: float) -> bool:
    """Whether a candidate is to go a smaller share of its way; reference: what it scores there now.

    Nobody goes the whole way, nor any part that loses too much on the reference set. But what loses much more at the
    end of its way is judged there: that is no matter of degree, its labels are bad.
    """
    fall = _fall(served, reference)
    return fall <= BAD_LABELS if share == 1 else fall > _allowed_fall(served)


def _fall(served: Standing, reference: Measured) -> float:
    return float(np.mean(served.reference.dice)) - float(np.mean(reference.dice))


def _allowed_fall(served: Standing) -> float:
    return 0 if _is_weak(served) else REFERENCE_FALL


def _reference_faults(served: Standing, candidate: Standing) -> list[str]:
    if _fall(served, candidate.reference) <= _allowed_fall(served):
        return []
    old, new = (float(np.mean(standing.reference.dice)) for standing in (served, candidate))
    digits = 3 if round(old, 3) > round(new, 3) else 6
    weakness = _weakness(served) if _is_weak(served) else ""
    return [f"worse on the reference set, {old:.{digits}f} -> {new:.{digits}f}{weakness}"]


def _is_weak(served: Standing) -> bool:
    return served.holdout.pictures < ENOUGH


def _decile_faults(served: Standing, candidate: Standing) -> list[str]:
    faults = []
    for name, old, new in (
        ("hold-out", served.holdout, candidate.holdout),
        ("reference set", served.reference, candidate.reference),
    ):
        enough = old.pictures >= ENOUGH
        if enough and new.worst_decile < old.worst_decile - DECILE_FALL:
            faults.append(f"worst tenth of the {name} worse, {old.worst_decile:.3f} -> {new.worst_decile:.3f}")
    return faults


def _holdout_faults(margin: Margin) -> list[str]:
    if margin.weak or (margin.mean >= 0 and margin.low > LOWER_BOUND):
        return []
    return [f"{_told(margin)}, too little to be sure" if margin.mean >= 0 else _told(margin)]


def _gain(margin: Margin, served: Standing, candidate: Standing) -> str:
    if not margin.weak:
        return _told(margin)
    old, new = (float(np.mean(standing.reference.dice)) for standing in (served, candidate))
    return f"{new - old:+.3f} Dice on {served.reference.pictures} reference pictures{_weakness(served)}"


def _told(margin: Margin) -> str:
    return f"{margin.mean:+.3f} Dice on {margin.pictures} held-out pictures ({margin.low:+.3f} to {margin.high:+.3f})"


def _weakness(served: Standing) -> str:
    return f", weak evidence ({served.holdout.pictures} held-out pictures)"


def _figures(served: Standing, candidate: Standing, margin: Margin) -> dict[str, Any]:
    sides = {"served": served, "candidate": candidate}
    told = {
        name: {"holdout": standing.holdout.figures(), "reference": standing.reference.figures()}
        for name, standing in sides.items()
    }
    return {**told, "margin": asdict(margin), "confidence": CONFIDENCE, "enough": ENOUGH}
