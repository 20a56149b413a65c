"""What a network reads of a text: eight numbers, or the tokens of the canonical sentence or of the user's own words."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from textseg.text.eight_numbers import eight_numbers
from textseg.text.encoder import Tokenizer
from textseg.text.finding import Finding
from textseg.text.prompt import Reading
from textseg.text.sentence import network_sentence
from textseg.text.tokens import Lost


@dataclass(frozen=True)
class Said:
    """What is said of a picture. finding: patient sides, None for no text. bilateral: as the sentence says it, see
    `prompt.Reading`. words: instead, for models that read the words themselves, in the sides that they speak of.
    """

    finding: Finding | None = None
    bilateral: bool | None = None
    words: str = ""

    @classmethod
    def of(cls, reading: Reading | None) -> "Said":
        """A prompt as it was read; None for no text."""
        return cls(reading.finding, reading.bilateral, reading.words) if reading else cls()


class TextReader:
    """Texts -> what one model's network reads, one row per text: B x 8 floats, or B x N token numbers.

    verbatim: the words themselves are read, not the canonical sentence of the finding.
    """

    def __init__(self, tokenizer: Tokenizer | None, verbatim: bool = False) -> None:
        self.tokenizer, self.verbatim = tokenizer, verbatim

    @classmethod
    def of(cls, network: nn.Module, verbatim: bool = False) -> "TextReader":
        """The reader of a network."""
        encoder = network.text_encoder
        return cls(encoder.tokenizer if encoder is not None else None, verbatim)

    def __call__(self, said: list[Said]) -> Tensor:
        if self.tokenizer is None:
            return torch.tensor([eight_numbers(one.finding, one.bilateral) for one in said])
        return torch.tensor([self.tokenizer(self.sentence(one)) for one in said])

    def lost(self, said: Said) -> Lost:
        """The words that the network does not get of what it reads."""
        return self.tokenizer.lost(self.sentence(said)) if self.tokenizer is not None else Lost()

    def sentence(self, said: Said) -> str:
        """The sentence that is read: in picture sides where it is the canonical one."""
        return said.words if self.verbatim else network_sentence(said.finding)
