"""Text encoders behind one interface: sentences -> tokens -> token vectors, and a hash that tells one from another."""

import hashlib
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from textseg.errors import WeightsMissing
from textseg.text.tokens import LENGTH, PAD, UNKNOWN, Lost, WordTokens

CXR_BERT_VOCABULARY = 30_522
UNREADABLE = (
    *(OSError, EOFError, RuntimeError, ValueError, TypeError, KeyError, AttributeError),
    *(pickle.UnpicklingError, SafetensorError),
)
REMEDY = "Fetch it: textseg fetch cxr-bert."
CXR_BERT = {"vocab_size": CXR_BERT_VOCABULARY, "hidden_dropout_prob": 0.25, "attention_probs_dropout_prob": 0.25}


class Tokenizer(Protocol):
    """A sentence -> `length` numbers, padded with PAD; and which of its words the numbers do not tell."""

    def __call__(self, sentence: str) -> tuple[int, ...]: ...

    def lost(self, sentence: str) -> Lost: ...


class TextEncoder(nn.Module):
    """B x `length` token numbers -> (B x `length` x `width` token vectors, B x `length` booleans: where words are).

    tokenizer: one sentence as that many numbers. frozen: it is never trained, and no weights file or checkpoint of a
    network holds it: the network is bound to it by `identity`.
    """

    frozen = False

    def __init__(self, tokenizer: Tokenizer, vocabulary: Iterable[str], width: int, length: int = LENGTH) -> None:
        super().__init__()
        self.tokenizer, self.vocabulary = tokenizer, tuple(vocabulary)
        self.width, self.length = width, length

    def encode(self, tokens: Tensor) -> Tensor:
        """B x N token numbers -> B x N x C vectors."""
        raise NotImplementedError

    def present(self, tokens: Tensor) -> Tensor:
        """B x N token numbers -> B x N booleans: where words are, the marks of beginning and end included."""
        return tokens != PAD

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.encode(tokens), self.present(tokens)

    def identity(self) -> str:
        """Hex digest of the vocabulary and the weights (at half precision, as weights are stored)."""
        digest = hashlib.sha256("\n".join(self.vocabulary).encode())
        for key, value in sorted(nn.Module.state_dict(self).items()):
            digest.update(key.encode())
            digest.update(value.detach().cpu().half().contiguous().numpy().tobytes())
        return digest.hexdigest()


class FrozenEncoder(TextEncoder):
    """An encoder that came trained: always in evaluation mode, one object in all copies of its network.

    Nothing of it is stored with a network or loaded with one: whoever stores the network stores its identity. Weights
    of a text encoder among those that a network loads are an error (RuntimeError), and leave this one as it is.
    """

    frozen = True

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        self._prefix = ""
        self.register_load_state_dict_post_hook(FrozenEncoder._not_missed)

    def train(self, mode: bool = True) -> "FrozenEncoder":
        return super().train(False)

    def __deepcopy__(self, memo: dict) -> "FrozenEncoder":
        return self

    def state_dict(self, *_: object, destination: dict | None = None, **__: object) -> dict:
        """Nothing."""
        return {} if destination is None else destination

    def load_state_dict(self, *_: object, **__: object) -> None:
        """Raises RuntimeError."""
        raise RuntimeError(f"A frozen text encoder loads no weights: make a new {type(self).__name__}.")

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *rest: Any) -> None:
        """torch's step for one module; what is taken from `state_dict` here does not get to the modules below it."""
        self._prefix, errors = prefix, rest[-1]
        foreign = [key for key in state_dict if key.startswith(prefix)]
        for key in foreign:
            del state_dict[key]
        if foreign:
            errors.append(f"{foreign[0]}: the text encoder is frozen, weights of a network hold nothing of it.")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _not_missed(self, keys: Any) -> None:
        """torch's hook after loading: its own tensors are not missed where a network's are loaded."""
        keys.missing_keys[:] = [key for key in keys.missing_keys if not key.startswith(self._prefix)]

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return super().forward(tokens)


class CXRBert(FrozenEncoder):
    """CXR-BERT by transformers' plain BERT classes: the last layer at all positions (TGCAM, MICCAI 2024; tokens 24)."""

    def __init__(self, bert: nn.Module, tokenizer: Tokenizer, vocabulary: Iterable[str]) -> None:
        super().__init__(tokenizer, vocabulary, bert.config.hidden_size)
        self.bert = bert
        self.requires_grad_(False).eval()

    def encode(self, tokens: Tensor) -> Tensor:
        return self.bert(input_ids=tokens, attention_mask=self.present(tokens).long()).last_hidden_state

    @classmethod
    def load(cls, folder: Path) -> "CXRBert":
        """From a local folder with vocab.txt, config.json and the weights. Nothing in it is executed.

        Raises WeightsMissing when a file is absent, damaged, or of another model.
        """
        from transformers import BertConfig

        tokenizer = WordPieces(folder / "vocab.txt")
        try:
            bert = _bert(BertConfig.from_json_file(folder / "config.json"))
            bert.load_state_dict(_encoder_tensors(folder))
        except UNREADABLE as error:
            fault = (str(error) or type(error).__name__).splitlines()[0]
            raise WeightsMissing(f"{folder} does not hold CXR-BERT ({fault}). {REMEDY}") from error
        return cls(bert, tokenizer, tokenizer.vocabulary)

    @classmethod
    def random(cls, seed: int = 0) -> "CXRBert":
        """The same layers with random weights (normal, 0.02) over the canonical words: for tests and for trying out."""
        from transformers import BertConfig

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            bert = _bert(BertConfig(**CXR_BERT))
        return cls(bert, WordTokens(), WordTokens().words)


class WordPieces:
    """CXR-BERT's own tokens: lower-cased word pieces, [CLS] ... [SEP], cut and padded to the length.

    Raises WeightsMissing when the file is no vocabulary of 30,522 pieces.
    """

    def __init__(self, path: Path, length: int = LENGTH) -> None:
        from transformers import BertTokenizer

        if not path.is_file():
            raise WeightsMissing(f"There is no {path}. {REMEDY}")
        self.pieces, self.length = BertTokenizer(vocab=str(path)), length
        if len(self.pieces) != CXR_BERT_VOCABULARY:
            raise WeightsMissing(
                f"{path} holds {len(self.pieces)} word pieces, CXR-BERT has {CXR_BERT_VOCABULARY}. {REMEDY}"
            )
        self.vocabulary = tuple(sorted(self.pieces.get_vocab(), key=self.pieces.get_vocab().get))

    def __call__(self, sentence: str) -> tuple[int, ...]:
        return tuple(self.pieces(sentence, padding="max_length", truncation=True, max_length=self.length)["input_ids"])

    def lost(self, sentence: str) -> Lost:
        """What of a sentence its numbers do not tell; a word that is cut in two counts as cut."""
        whole = self.pieces(sentence)
        of_piece = [whole.word_to_chars(word) if word is not None else (0, 0) for word in whole.word_ids()]
        pieces = [
            (number, sentence[start:end]) for number, (start, end) in zip(whole["input_ids"], of_piece, strict=True)
        ]
        unknown = (word for number, word in pieces[: self.length - 1] if number == UNKNOWN)
        return Lost.of(unknown, (word for _, word in pieces[self.length - 1 :]))


def _bert(config: object) -> nn.Module:
    from transformers import BertModel

    return BertModel(config, add_pooling_layer=False)


def stored_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a folder's model.safetensors or pytorch_model.bin. Raises one of UNREADABLE."""
    from safetensors.torch import load_file

    safe, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    return load_file(safe) if safe.is_file() else torch.load(pickled, map_location="cpu", weights_only=True)


def _encoder_tensors(folder: Path) -> dict[str, Tensor]:
    """The encoder's own tensors: the language-model and projection heads, the pooler and buffers are left out."""
    stored = stored_tensors(folder).items()
    of_bert = {key.removeprefix("bert."): value for key, value in stored if not key.startswith("cls")}
    return {k: v for k, v in of_bert.items() if not k.startswith("pooler.") and not k.endswith("position_ids")}
