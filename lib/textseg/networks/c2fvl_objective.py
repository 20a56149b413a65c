"""The objective of C2FVL (ICASSP 2023): L_up of equation 9, with the published form of Dice and cross entropy."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class C2FVLOutput:
    """What training needs. logits: B x 1 x S x S. auxiliary: raw maps v1..v4, each B x 1 x S x S."""

    logits: Tensor
    auxiliary: tuple[Tensor, ...]


def soft_dice_loss(probability: Tensor, mask: Tensor, smooth: float = 4e-5) -> Tensor:
    """1 - (2 sum p g + s) / (sum p^2 + sum g^2 + s), per image (B x 1 x H x W), then mean over the batch."""
    p, g = probability.flatten(1), mask.flatten(1)
    overlap = 2 * (p * g).sum(1) + smooth
    return (1 - overlap / ((p * p).sum(1) + (g * g).sum(1) + smooth)).mean()


def balanced_cross_entropy(logits: Tensor, mask: Tensor) -> Tensor:
    """Half the mean over foreground plus half the mean over background pixels of the whole batch at once.

    The batch is what passes at one time: where a step is made of several passes or processes, their own share each.
    """
    each = torch.clamp(F.binary_cross_entropy_with_logits(logits, mask, reduction="none"), max=100)
    foreground = (each * mask).sum() / (mask.sum() + 1e-12)
    background = (each * (1 - mask)).sum() / ((1 - mask).sum() + 1e-12)
    return 0.5 * foreground + 0.5 * background


def alignment_loss(auxiliary: tuple[Tensor, ...]) -> Tensor:
    """Equation 10 summed over levels 2 to 4: 1 - cosine(v1, v_i) per image, mean over the batch."""
    first = auxiliary[0].flatten(1)
    return sum((1 - F.cosine_similarity(first, v.flatten(1), dim=1, eps=1e-8)).mean() for v in auxiliary[1:])


@dataclass(eq=False)
class C2FVLLoss(nn.Module):
    """L_up = dice * L_dice + cross_entropy * L_ce + alignment * (L_12 + L_13 + L_14)  (equation 9)."""

    dice: float = 0.5
    cross_entropy: float = 0.5
    alignment: float = 0.5

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, output: C2FVLOutput, mask: Tensor) -> Tensor:
        return (
            self.dice * soft_dice_loss(torch.sigmoid(output.logits), mask)
            + self.cross_entropy * balanced_cross_entropy(output.logits, mask)
            + self.alignment * alignment_loss(output.auxiliary)
        )
