"""A small text encoder of our own, trained together with its network: word numbers -> token vectors."""

from collections.abc import Sequence

from torch import Tensor, nn

from textseg.text.encoder import TextEncoder
from textseg.text.tokens import KNOWN_WORDS, LENGTH, PAD, WordTokens


class CompactText(TextEncoder):
    """Embeddings of words and positions, then pre-norm transformer layers. About a million weights at the defaults.

    words: the vocabulary, those of the canonical grammar when None. Padded positions are attended to by nobody.
    """

    def __init__(
        self,
        words: Sequence[str] | None = None,
        width: int = 160,
        layers: int = 3,
        heads: int = 4,
        length: int = LENGTH,
    ) -> None:
        tokenizer = WordTokens(words or KNOWN_WORDS, length)
        super().__init__(tokenizer, tokenizer.words, width, length)
        self.words = nn.Embedding(len(tokenizer.words), width, padding_idx=PAD)
        self.positions = nn.Embedding(self.length, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        for embedding in (self.words, self.positions):
            nn.init.normal_(embedding.weight, std=0.5)

    def encode(self, tokens: Tensor) -> Tensor:  # (B, N) -> (B, N, C)
        vectors = self.words(tokens) + self.positions.weight
        return self.norm(self.layers(vectors, src_key_padding_mask=~self.present(tokens)))
