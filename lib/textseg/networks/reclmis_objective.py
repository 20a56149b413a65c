"""The objective of RecLMIS (IEEE TMI 2025): segmentation, two reconstructions and the contrast of words and patches."""

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textseg.networks.c2fvl_objective import soft_dice_loss

TEMPERATURE = 0.01  # CLIP's, frozen
logger = logging.getLogger(__name__)


@dataclass
class RecLMISOutput:
    """What training needs: B pictures, N patches, L words, C channels.

    logits: B x 1 x S x S. patches, rebuilt_patches: V' and V_hat, B x N x C. target, rebuilt_words: the text encoder's
    vectors c and E_hat, B x L x C. raw, words: V and E before they meet. patch_scores, word_scores: w_v (B x N) and w_e
    (B x L), each summing to 1. present: B x L booleans, where words are; counted: which words the losses count.
    tokens: B x L, the prompts as the text encoder reads them.
    """

    logits: Tensor
    patches: Tensor
    rebuilt_patches: Tensor
    target: Tensor
    rebuilt_words: Tensor
    raw: Tensor
    words: Tensor
    patch_scores: Tensor
    word_scores: Tensor
    present: Tensor
    tokens: Tensor
    counted: Tensor


def segmentation_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """L_seg: half Dice, a mean over images, and half cross entropy, a mean over all pixels."""
    dice = soft_dice_loss(torch.sigmoid(logits), mask)
    return 0.5 * dice + 0.5 * F.binary_cross_entropy_with_logits(logits, mask)


def patch_loss(output: RecLMISOutput) -> Tensor:
    """L_T2V: mean squared distance of the rebuilt patches from V' (equation 8 as the published network has it)."""
    return F.mse_loss(output.rebuilt_patches, output.patches)


def word_loss(output: RecLMISOutput) -> Tensor:
    """L_V2T: mean squared distance of the rebuilt words that count from the text encoder's vectors (equation 10).

    The mean is over the words of what passes at one time, see `contrastive_loss`.
    """
    return (output.rebuilt_words - output.target).square().mean(dim=-1)[output.counted].mean()


def contrastive_loss(output: RecLMISOutput, merge_equal: bool = False) -> Tensor:
    """L_CCL: every prompt against every picture of the batch, by words and patches before they meet (equations 5, 6).

    The scores, probabilities already, go through softmax once more, as in the published network. merge_equal: the
    picture of an equal prompt is no wrong answer; in the published network it is one. The batch is what passes at one
    time: where a step is made of several passes or processes, each contrasts its own share alone.
    """
    with torch.autocast(output.words.device.type, enabled=False):  # a hundredth of a cosine is what is told apart
        alike = _likeness(output, F.normalize(output.words.float(), dim=-1), F.normalize(output.raw.float(), dim=-1))
        own = torch.arange(len(alike), device=alike.device)
        if merge_equal:
            equal = (output.tokens[:, None] == output.tokens[None]).all(dim=-1)
            alike = alike.masked_fill(equal & (own[:, None] != own), -torch.inf)
        return 0.5 * F.cross_entropy(alike, own) + 0.5 * F.cross_entropy(alike.T, own)


def _likeness(output: RecLMISOutput, words: Tensor, raw: Tensor) -> Tensor:
    """B x B: prompt b to picture d, divided by the temperature."""
    close = torch.einsum("btc,dvc->bdtv", words, raw)  # of word t of prompt b and patch v of picture d
    close = close * output.present[:, None, :, None]
    w_e = output.word_scores.float().masked_fill(~output.counted, -torch.inf).softmax(dim=-1)
    w_v = output.patch_scores.float().softmax(dim=-1)
    by_words = torch.einsum("bt,bdt->bd", w_e, close.amax(dim=3))
    readable = close.masked_fill(~output.counted[:, None, :, None], -2.0)  # less than any cosine
    by_patches = torch.einsum("dv,bdv->bd", w_v, readable.amax(dim=2))
    return (by_words + by_patches) / 2 / TEMPERATURE


@dataclass(eq=False)
class RecLMISLoss(nn.Module):
    """L = words * L_V2T + patches * L_T2V + contrast * L_CCL + mask * L_seg; the paper's weights.

    A reconstruction that is no number counts as nothing in that step, and that is logged. A term of weight 0 is not
    computed. merge_equal: see `contrastive_loss`.
    """

    words: float = 1.0
    patches: float = 1.0
    contrast: float = 0.2
    mask: float = 5.0
    merge_equal: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def forward(self, output: RecLMISOutput, mask: Tensor) -> Tensor:
        total = self.mask * segmentation_loss(output.logits, mask)
        for weight, term in ((self.words, word_loss), (self.patches, patch_loss)):
            if weight:
                total = total + self._finite(weight * term(output), term.__name__)
        return total + self.contrast * contrastive_loss(output, self.merge_equal) if self.contrast else total

    def _finite(self, loss: Tensor, name: str) -> Tensor:
        if loss.isfinite():
            return loss
        logger.warning("%s is no finite number in this step and counts as nothing in it", name)
        return torch.zeros_like(loss)
