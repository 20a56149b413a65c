"""Dice and IoU, in the two families that the papers publish: mean per image, and pooled over all pixels."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of one prediction against one reference mask."""

    both: int
    predicted: int
    reference: int

    @classmethod
    def of(cls, predicted: np.ndarray, reference: np.ndarray) -> "Overlap":
        """Two boolean arrays of one shape."""
        return cls(int((predicted & reference).sum()), int(predicted.sum()), int(reference.sum()))

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(self.both + other.both, self.predicted + other.predicted, self.reference + other.reference)

    @property
    def both_empty(self) -> bool:
        return self.predicted == 0 and self.reference == 0

    def dice(self, paper: bool = False) -> float:
        """2 |P and G| / (|P| + |G|). Both empty: 1, or 0 by the papers' protocol, which adds 1e-5 below the line."""
        total = self.predicted + self.reference
        if paper:
            return 2 * self.both / (total + 1e-5)
        return 2 * self.both / total if total else 1.0

    def iou(self, paper: bool = False) -> float:
        """|P and G| / |P or G|. Both empty as for `dice`."""
        union = self.predicted + self.reference - self.both
        if paper:
            return self.both / (union + 1e-5)
        return self.both / union if union else 1.0


def summary(overlaps: list[Overlap], paper: bool = False) -> dict[str, float]:
    """dice_image, iou_image: mean over images. dice_micro, iou_micro: pooled over all pixels. both_empty: how many."""
    pooled = sum(overlaps, Overlap(0, 0, 0))
    return {
        "dice_image": float(np.mean([overlap.dice(paper) for overlap in overlaps])) if overlaps else float("nan"),
        "iou_image": float(np.mean([overlap.iou(paper) for overlap in overlaps])) if overlaps else float("nan"),
        "dice_micro": pooled.dice(paper),
        "iou_micro": pooled.iou(paper),
        "images": len(overlaps),
        "both_empty": sum(overlap.both_empty for overlap in overlaps),
    }
