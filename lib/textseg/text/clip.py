"""CLIP's text tower by transformers' plain CLIP classes, and its byte-pair tokens, whose vocabulary a package ships."""

from pathlib import Path

import torch
from torch import Tensor, nn

from textseg.errors import WeightsMissing
from textseg.text.encoder import UNREADABLE, FrozenEncoder, stored_tensors
from textseg.text.tokens import Lost

FIRST, LAST = 49_406, 49_407
VOCABULARY = 49_408
PADDING = 0  # also a word of the vocabulary: an exclamation mark that ends no word
REFERENCE_LENGTH = 18
REMEDY = "Fetch it: textseg fetch clip."


class BytePairs:
    """A sentence as `length` numbers: beginning, lower-cased byte pairs, end, then 0. What does not fit is cut, the end
    is kept.
    """

    def __init__(self, length: int = REFERENCE_LENGTH) -> None:
        from open_clip.tokenizer import SimpleTokenizer

        self.pieces, self.length = SimpleTokenizer(), length
        self.vocabulary = tuple(self.pieces.encoder)

    def __call__(self, sentence: str) -> tuple[int, ...]:
        numbers = [FIRST, *self._pieces_of(sentence)][: self.length - 1]
        return (*numbers, LAST, *([PADDING] * (self.length - 1 - len(numbers))))

    def _pieces_of(self, sentence: str) -> list[int]:
        """The numbers of a sentence alone; the two marks, which a person may have written, are no words."""
        return [number for number in self.pieces.encode(sentence) if number not in (FIRST, LAST)]

    def lost(self, sentence: str) -> Lost:
        """What of a sentence its numbers do not tell: what is beyond the length, no word being unknown."""
        return Lost.of((), self.pieces.decode(self._pieces_of(sentence)[self.length - 2 :]).split())


class CLIPText(FrozenEncoder):
    """The text half of OpenAI's CLIP ViT-B/32: a projected vector for every token (Radford et al., ICML 2021).

    A token reads the earlier ones that are no padding; padding reads them too, and its vectors count in RecLMIS.
    """

    def __init__(self, tower: nn.Module, length: int = REFERENCE_LENGTH) -> None:
        tokenizer = BytePairs(length)
        super().__init__(tokenizer, tokenizer.vocabulary, tower.config.projection_dim, length)
        self.tower = tower
        self.requires_grad_(False).eval()

    def present(self, tokens: Tensor) -> Tensor:
        """B x N booleans: up to the first mark of the end, which is in every row that `BytePairs` gives."""
        ended = (tokens == LAST).long().cumsum(dim=1)
        return (ended - (tokens == LAST).long()) == 0

    def encode(self, tokens: Tensor) -> Tensor:
        read = self.tower.text_model(input_ids=tokens, attention_mask=self.present(tokens).long())
        return self.tower.text_projection(read.last_hidden_state)

    @classmethod
    def load(cls, folder: Path, length: int = REFERENCE_LENGTH) -> "CLIPText":
        """From a local folder with the weights of CLIP, whole or the text half. Nothing in it is executed.

        Raises WeightsMissing when they are absent, damaged, or of another model.
        """
        tower = _tower()
        try:
            stored = stored_tensors(folder)
            tower.load_state_dict({key: value for key, value in stored.items() if _of_text(key)})
        except UNREADABLE as error:
            fault = (str(error) or type(error).__name__).splitlines()[0]
            raise WeightsMissing(f"{folder} does not hold the text half of CLIP ({fault}). {REMEDY}") from error
        return cls(tower, length)

    @classmethod
    def random(cls, length: int = REFERENCE_LENGTH, seed: int = 0) -> "CLIPText":
        """The same layers with transformers' own random weights: for tests and for trying out."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(_tower(), length)


def _of_text(key: str) -> bool:
    return key.startswith(("text_model.", "text_projection.")) and not key.endswith("position_ids")


def _tower() -> nn.Module:
    """12 layers of width 512, 8 heads, x * sigmoid(1.702 x); the defaults of transformers' configuration."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(CLIPTextConfig(vocab_size=VOCABULARY))
