"""A small RecLMIS, and words for it."""

import torch
from torch import Tensor, nn

from textseg.networks.reclmis import RecLMIS
from textseg.text.encoder import FrozenEncoder
from textseg.text.tokens import KNOWN_WORDS, WordTokens

WIDTH, LENGTH = 4, 12  # of small networks: words of width 32
UPPER_LEFT, LOWER_RIGHT = "upper left lung", "bilateral pulmonary infection , lower right lung"


class Vectors(FrozenEncoder):
    """A random vector for every word number, of as many tokens as a test asks for."""

    def __init__(self, length: int = LENGTH) -> None:
        tokenizer = WordTokens(KNOWN_WORDS, length)
        super().__init__(tokenizer, tokenizer.words, 8 * WIDTH, length)
        table = torch.randn(len(KNOWN_WORDS), 8 * WIDTH, generator=torch.Generator().manual_seed(5))
        self.words = nn.Embedding.from_pretrained(table)

    def encode(self, tokens: Tensor) -> Tensor:
        return self.words(tokens)


def small_network(length: int = LENGTH, **switches: object) -> RecLMIS:
    """Narrow, in evaluation mode, with large positions and query and key weights, so that words matter (section 15)."""
    torch.manual_seed(1)
    network = RecLMIS(Vectors(length), width=WIDTH, layers=1, **switches).eval()
    with torch.no_grad():
        network.interaction.positions.table.normal_()
        for attention in (network.interaction.vision_to_text, network.interaction.text_to_vision):
            attention.query.weight.normal_()
            attention.key.weight.normal_()
    return network


def tokens(network: RecLMIS, *sentences: str) -> Tensor:
    return torch.tensor([network.text_encoder.tokenizer(sentence) for sentence in sentences])


def apart(found: Tensor, expected: Tensor) -> float:
    """The largest difference as a share of the largest value."""
    assert found.shape == expected.shape
    return ((found - expected).abs().max() / expected.abs().max()).item()
