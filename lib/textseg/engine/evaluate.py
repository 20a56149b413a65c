"""Scores on a data set, always beside the right text: no text, shuffled text, mirrored text, and one side asked.

The public sentences were written from the reference masks, so a score with the right text alone says little.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from textseg.data.augment import asked_half, other_half
from textseg.data.records import Record
from textseg.engine.metrics import Overlap, summary
from textseg.engine.predictor import BATCH, Predictor
from textseg.engine.texts import Said
from textseg.imaging.picture import Picture
from textseg.imaging.preprocess import mask_to_network, to_network
from textseg.text.sides import mirrored_words, named_sides

TEXTS = ("right", "none", "shuffled", "mirrored")
SIDES = ("left", "right")


@dataclass
class Scores:
    """Everything measured. rows: one dict per picture, for --csv."""

    overlaps: dict[str, list[Overlap]] = field(default_factory=lambda: {text: [] for text in TEXTS})
    one_sided: list[Overlap] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    halves: list[Overlap] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def report(self, paper: bool) -> dict[str, Any]:
        """JSON-ready summary; see `metrics.summary` for the figures. None where nothing was asked."""
        texts = {text: summary(overlaps, paper) for text, overlaps in self.overlaps.items()}
        return {
            "rows": len(self.rows),
            "texts": texts,
            "mirrored_one_sided": summary(self.one_sided, paper) if self.one_sided else None,
            "one_side": {
                "questions": len(self.shares),
                "share": float(np.mean(self.shares)) if self.shares else None,
                "dice_image": summary(self.halves, paper)["dice_image"] if self.halves else None,
            },
        }


def evaluate(predictor: Predictor, records: list[Record], seed: int = 0, paper: bool = False) -> Scores:
    """Score a model on records, every text on every picture.

    shuffled: the sentence of another row, by `seed`. mirrored: left and right changed. one_side: each two-sided row
    asked once per side (no count); share of the predicted pixels in that half of the picture (an empty mask: 0) and
    Dice against the mask cut to that half; not for a model that reads the words as they stand. paper: scored at the
    network's size, the mask resized, as the papers do; else on the picture's own pixels. Raises DataError when a mask
    does not lie on its picture.
    """
    scores = Scores()
    others = _others(len(records), seed)
    for number, record in enumerate(tqdm(records, desc=f"evaluating {predictor.spec.name}", leave=False, disable=None)):
        _score(predictor, record, records[others[number]], scores, paper)
    return scores


def masks_of(
    predictor: Predictor, picture: Picture, texts: Mapping[str, Said], height: int, width: int
) -> dict[str, np.ndarray]:
    """What a model draws at each of several texts: N x height x width booleans by the text's name.

    Each slice is encoded once for all texts, and a volume part by part, as in `Predictor.predict`.
    """
    count = len(picture.pixels)
    masks = {name: np.zeros((count, height, width), bool) for name in texts}
    for start in range(0, count, BATCH):
        part = slice(start, start + BATCH)
        features = predictor.encode(to_network(picture.part(start, start + BATCH), predictor.spec.input_size))
        for name, said in texts.items():
            probabilities = predictor.probabilities(features, said)
            masks[name][part] = predictor.threshold_masks(probabilities, height, width) > 0
    return masks


def _score(predictor: Predictor, record: Record, other: Record, scores: Scores, paper: bool) -> None:
    picture, reference = record.load()
    if paper:
        reference = mask_to_network(reference, predictor.spec.input_size)[:, 0].numpy() > 0
    masks = masks_of(predictor, picture, _texts(record, other), *reference.shape[-2:])
    overlaps = {text: Overlap.of(masks[text], reference) for text in TEXTS}
    for text, overlap in overlaps.items():
        scores.overlaps[text].append(overlap)
    row = {"image": record.name, "prompt": record.prompt}
    row |= {f"dice_{text}": overlap.dice(paper) for text, overlap in overlaps.items()}
    row |= {f"iou_{text}": overlap.iou(paper) for text, overlap in overlaps.items()}
    if _two_sided(record):
        row |= _one_side(reference, masks, scores)
    elif _one_sided(record):
        scores.one_sided.append(overlaps["mirrored"])
        row["one_sided"] = True
    scores.rows.append(row)


def _texts(record: Record, other: Record) -> dict[str, Said]:
    """What is asked of a picture, by TEXTS; where its own text is of both sides, each of SIDES alone as well."""
    texts = {
        "right": Said(record.finding, record.bilateral, record.words),
        "none": Said(),
        "shuffled": Said(other.finding, other.bilateral, other.words),
        "mirrored": _mirrored(record),
    }
    if _two_sided(record):
        texts |= {f"only {side}": Said(record.finding.only(side)) for side in SIDES}
    return texts


def _two_sided(record: Record) -> bool:
    """Whether the text asks for both sides."""
    return bool(record.finding and record.finding.two_sided)


def _mirrored(record: Record) -> Said:
    finding = record.finding.mirrored() if record.finding else None
    return Said(finding, record.bilateral, mirrored_words(record.words))


def _one_sided(record: Record) -> bool:
    """Whether the mirrored text asks for the other side alone."""
    if record.finding:
        return bool(record.finding.left or record.finding.right)
    return len(named_sides(record.words)) == 1 and mirrored_words(record.words) != record.words


def _one_side(reference: np.ndarray, masks: Mapping[str, np.ndarray], scores: Scores) -> dict[str, float]:
    row = {}
    for side in SIDES:
        mask, cut = masks[f"only {side}"], reference.copy()
        width = mask.shape[-1]
        share = float(mask[..., asked_half(side, width)].sum() / mask.sum()) if mask.any() else 0.0
        cut[..., other_half(side, width)] = False
        scores.shares.append(share)
        scores.halves.append(Overlap.of(mask, cut))
        row[f"share_{side}"] = share
    return row


def _others(count: int, seed: int) -> np.ndarray:
    """For every row another row's number: a random cycle, so that no row gets its own sentence."""
    cycle = np.random.default_rng(seed).permutation(count)
    others = np.empty(count, int)
    others[cycle] = np.roll(cycle, 1)
    return others
