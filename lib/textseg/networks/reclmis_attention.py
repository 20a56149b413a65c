"""The attention of RecLMIS: four heads, of which one number per key may change the weights."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEADS = 4
LEAST = 1e-10  # added to a gate, so that a row of zeros can be divided


class Attention(nn.Module):
    """(B x N x C queries, B x M x C keys and values) -> B x N x C; no residual, no norm.

    dropout: on the weights. Initialised as one packed 3C x C matrix by Xavier's uniform rule, biases zero.
    """

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        bound = math.sqrt(6 / (4 * width))
        for linear in (self.query, self.key, self.value):
            nn.init.uniform_(linear.weight, -bound, bound)
        for linear in (self.query, self.key, self.value, self.out):
            nn.init.zeros_(linear.bias)

    def forward(self, read: Tensor, given: Tensor, visible: Tensor | None = None) -> Tensor:
        """visible: B x M booleans, the keys that may be read; all when None."""
        query, key, value = self._heads(read, given)
        mask = None if visible is None else visible[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        return self._joined(F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout))

    def _heads(self, read: Tensor, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, B x heads x tokens x C / heads."""
        projected = (self.query(read), self.key(given), self.value(given))
        return tuple(tokens.unflatten(2, (HEADS, -1)).transpose(1, 2) for tokens in projected)

    def _joined(self, heads: Tensor) -> Tensor:
        return self.out(heads.transpose(1, 2).flatten(2))


class GatedAttention(Attention):
    """Attention whose weights are multiplied by one number per key and brought to sum 1 again (equations 7 and 9)."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        nn.init.xavier_uniform_(self.out.weight)

    def forward(self, read: Tensor, given: Tensor, gate: Tensor | None = None, causal: bool = False) -> Tensor:
        """gate: B x M, one number per key, 0 or more; none when None. causal: a query reads no later key."""
        query, key, value = self._heads(read, given)
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)  # scaled first: half precision holds it
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(later, -torch.inf)
        weights = scores.softmax(dim=-1)
        if gate is not None:
            weights = weights * (gate[:, None, None, :] + LEAST)
            weights = weights / weights.sum(dim=-1, keepdim=True)
        return self._joined(weights @ value)
