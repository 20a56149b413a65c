"""What RecLMIS needs for training alone: scores, weighted masking, two conditioned reconstructors.

Huang et al., IEEE TMI 2025, equations 3, 4 and 7 to 10. Where print and published network part, the network is
followed.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textseg.networks.reclmis_attention import GatedAttention
from textseg.networks.reclmis_objective import RecLMISOutput

DROPOUT = 0.1


@dataclass(frozen=True)
class Prompt:
    """A prompt before it meets a picture.

    words: E, B x L x C. target: the text encoder's own vectors, c, B x L x C. present: B x L booleans, where words
    are. tokens: B x L, as the text encoder reads them.
    """

    words: Tensor
    target: Tensor
    present: Tensor
    tokens: Tensor


class Scores(nn.Sequential):
    """B x N x C vectors -> B x N weights that sum to 1 over the positions that are present (all when None)."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, vectors: Tensor, present: Tensor | None = None) -> Tensor:
        scores = super().forward(vectors).squeeze(-1)
        return (scores if present is None else scores.masked_fill(~present, -torch.inf)).softmax(dim=-1)


class ConditionLayer(nn.Module):
    """Post-norm: causal self-attention, gated by the scores, and a perceptron of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention, self.norm = GatedAttention(width), nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(2 * width, width)
        )
        self.last_norm, self.dropout = nn.LayerNorm(width), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        x = self.norm(x + self.dropout(self.attention(x, x, gate, causal=True)))
        return self.last_norm(x + self.dropout(self.perceptron(x)))


class MainLayer(nn.Module):
    """Post-norm: causal self-attention, attention to the condition gated by its scores, a perceptron."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention, self.norm = GatedAttention(width), nn.LayerNorm(width)
        self.cross, self.cross_norm = GatedAttention(width), nn.LayerNorm(width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, 2 * width), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(2 * width, width)
        )
        self.last_norm, self.dropout = nn.LayerNorm(width), nn.Dropout(DROPOUT)

    def forward(self, x: Tensor, condition: Tensor, gate: Tensor) -> Tensor:
        x = self.norm(x + self.dropout(self.attention(x, x, causal=True)))
        x = self.cross_norm(x + self.dropout(self.cross(x, condition, gate)))
        return self.last_norm(x + self.dropout(self.perceptron(x)))


class Reconstructor(nn.Module):
    """The masked modality, B x N x C, rebuilt under the other one, B x M x C, whose positions weigh by B x M scores."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.condition = nn.ModuleList(ConditionLayer(width) for _ in range(layers))
        self.main = nn.ModuleList(MainLayer(width) for _ in range(layers))

    def forward(self, masked: Tensor, condition: Tensor, gate: Tensor) -> Tensor:
        for layer in self.condition:
            condition = layer(condition, gate)
        for layer in self.main:
            masked = layer(masked, condition, gate)
        return masked


class Reconstruction(nn.Module):
    """Scores, masks and both reconstructors.

    layers: of each of the two stacks of a reconstructor. mask_patches, mask_words: shares that are hidden.
    score_dropout: on the way into the scores. mask_padding: padded words count in no loss. rec_detach: V' is no moving
    target, its reconstruction sends no gradient into it (option R13 of the notes to the paper's equation 8).
    """

    def __init__(
        self,
        width: int,
        layers: int = 3,
        mask_padding: bool = True,
        mask_patches: float = 0.5,
        mask_words: float = 0.3,
        score_dropout: float = 0.0,
        rec_detach: bool = False,
    ) -> None:
        super().__init__()
        self.mask_padding, self.rec_detach = mask_padding, rec_detach
        self.mask_patches, self.mask_words = mask_patches, mask_words
        self.patch_scores, self.word_scores = Scores(width), Scores(width)
        self.dropout = nn.Dropout(score_dropout)
        self.to_patches = Reconstructor(width, layers)
        self.to_words = Reconstructor(width, layers)

    def forward(
        self,
        logits: Tensor,
        raw: Tensor,
        patches: Tensor,
        interest: Tensor,
        prompt: Prompt,
        hidden: Tensor | None = None,
        hidden_words: Tensor | None = None,
    ) -> RecLMISOutput:
        """raw: V, patches: V', B x N x C. interest: E', B x L x C.

        hidden, hidden_words: B x N and B x L booleans, the positions that are set to zero; drawn by the scores when
        None.
        """
        words, present = prompt.words, prompt.present
        w_v = self.patch_scores(self.dropout(patches))
        w_e = self.word_scores(self.dropout(interest), present)
        if hidden is None:
            hidden = drawn(w_v.detach(), torch.ones_like(w_v, dtype=torch.bool), self.mask_patches)
        if hidden_words is None:
            hidden_words = drawn(w_e.detach(), present, self.mask_words)
        return RecLMISOutput(
            logits=logits,
            patches=patches.detach() if self.rec_detach else patches,
            rebuilt_patches=self.to_patches(without(raw, hidden), words, w_e),
            target=prompt.target,
            rebuilt_words=self.to_words(without(words, hidden_words), raw, w_v),
            raw=raw,
            words=words,
            patch_scores=w_v,
            word_scores=w_e,
            present=present,
            tokens=prompt.tokens,
            counted=present if self.mask_padding else torch.ones_like(present),
        )


def without(vectors: Tensor, hidden: Tensor) -> Tensor:
    """B x N x C vectors with those at hidden positions, B x N booleans, set to zero."""
    return vectors.masked_fill(hidden[:, :, None], 0.0)


def drawn(weights: Tensor, allowed: Tensor, share: float) -> Tensor:
    """B x N booleans: max(floor(share n), 1) of the n allowed positions, drawn one after another by weight.

    The largest of log weight plus Gumbel noise, which is the same distribution. Where fewer have a weight than are to
    be drawn, the rest comes evenly from the allowed ones.
    """
    noise = -torch.log(-torch.log(torch.rand_like(weights).clamp(1e-20, 1 - 1e-7)))
    keys = torch.log(weights.clamp(min=1e-30)) + noise
    ranks = keys.masked_fill(~allowed, -torch.inf).argsort(dim=1, descending=True).argsort(dim=1)
    count = (allowed.sum(dim=1) * share).floor().clamp(min=1)
    return (ranks < count[:, None]) & allowed
