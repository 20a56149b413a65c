"""What one model scores on a set of pictures, words included: what the gate compares."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from textseg.data.records import Record
from textseg.engine.evaluate import evaluate, masks_of
from textseg.engine.predictor import Predictor
from textseg.engine.texts import Said
from textseg.text.finding import Finding

NO_WORDS = "no infection"


@dataclass(frozen=True)
class Measured:
    """One model on one set. dice: of each question, right text. right, mirrored: of those whose text names one side.

    A picture with several segments is asked several times; names: of the pictures, () where each is asked once. shares:
    of what is drawn when a two-sided picture is asked for one side, in that half. denied: whether each question's
    picture, asked for what a denial denies, was not answered by an empty mask.
    """

    dice: tuple[float, ...] = ()
    right: tuple[float, ...] = ()
    mirrored: tuple[float, ...] = ()
    shares: tuple[float, ...] = ()
    denied: tuple[bool, ...] = ()
    names: tuple[str, ...] = ()

    def __add__(self, other: "Measured") -> "Measured":
        return Measured(**{key: value + getattr(other, key) for key, value in vars(self).items()})

    @property
    def sensitivity(self) -> float | None:
        """Mean Dice lost on one-sided pictures when the sides of the text are changed; None without such."""
        return float(np.mean(self.right) - np.mean(self.mirrored)) if self.right else None

    @property
    def share(self) -> float | None:
        """Mean of the shares; None where nothing was asked."""
        return float(np.mean(self.shares)) if self.shares else None

    @property
    def by_picture(self) -> np.ndarray:
        """Mean Dice of every picture."""
        found: dict[object, list[float]] = {}
        for name, dice in zip(self.names or range(len(self.dice)), self.dice, strict=True):
            found.setdefault(name, []).append(dice)
        return np.array([np.mean(dices) for dices in found.values()])

    @property
    def pictures(self) -> int:
        """How many there are."""
        return len(self.by_picture)

    @property
    def worst_decile(self) -> float | None:
        """Mean Dice of the worst tenth of the pictures, at least one; None without pictures."""
        return float(np.mean(np.sort(self.by_picture)[: max(1, self.pictures // 10)])) if self.dice else None

    def figures(self) -> dict[str, Any]:
        """For reports, JSON-ready."""
        dice = float(np.mean(self.by_picture)) if self.dice else None
        summary = {key: getattr(self, key) for key in ("worst_decile", "sensitivity", "share")}
        return {"pictures": self.pictures, "dice_image": dice, **summary, "denied": sum(self.denied)}


def measure(predictor: Predictor, records: Sequence[Record]) -> Measured:
    """Score a model on pictures, and ask each of them for what a denial denies."""
    if not records:
        return Measured()
    rows = evaluate(predictor, list(records)).rows
    one_sided = [row for row in rows if row.get("one_sided")]
    return Measured(
        dice=tuple(row["dice_right"] for row in rows),
        right=tuple(row["dice_right"] for row in one_sided),
        mirrored=tuple(row["dice_mirrored"] for row in one_sided),
        shares=tuple(row[key] for row in rows for key in ("share_left", "share_right") if key in row),
        denied=tuple(_draws_when_denied(predictor, record) for record in records),
        names=tuple(row["image"] for row in rows),
    )


def _draws_when_denied(predictor: Predictor, record: Record) -> bool:
    picture, _ = record.load()
    said = Said(words=NO_WORDS) if predictor.verbatim else Said(Finding(absent=True))
    return bool(masks_of(predictor, picture, {NO_WORDS: said}, *picture.shape[1:])[NO_WORDS].any())
