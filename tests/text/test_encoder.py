"""What a network reads a sentence by: tokens, CXR-BERT from a local folder, and which encoder a network belongs to."""

import copy
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from textseg.engine.build import build_network, trained_encoder
from textseg.engine.weights import load_stored, save_weights, text_encoder_told
from textseg.errors import WeightsMissing
from textseg.registry import MODELS
from textseg.text import encoder as encoders
from textseg.text.compact import CompactText
from textseg.text.encoder import CXRBert, TextEncoder, WordPieces
from textseg.text.finding import ZONES, Finding
from textseg.text.sentence import canonical, network_sentence
from textseg.text.tokens import (
    FIRST,
    LAST,
    LENGTH,
    MOST_WORDS,
    PAD,
    SPECIAL,
    UNKNOWN,
    Lost,
    WordTokens,
    collected_words,
)

EXAMPLE = "Bilateral pulmonary infection, two infected areas, upper left lung and upper right lung"
TOKENS = WordTokens()

zones = st.lists(st.sampled_from(ZONES), unique=True).map(tuple)
findings = st.builds(
    Finding,
    left=zones,
    right=zones,
    count=st.none() | st.integers(1, 9),
    absent=st.booleans(),
    absent_left=st.booleans(),
    absent_right=st.booleans(),
)


# -- Words as numbers --


def words_read(tokens: tuple[int, ...]) -> list[str]:
    """The words between [CLS] and [SEP]."""
    assert len(tokens) == LENGTH and tokens[0] == FIRST
    end = tokens.index(LAST)
    assert set(tokens[end + 1 :]) <= {PAD}
    return [TOKENS.words[number] for number in tokens[1:end]]


@given(findings)
def test_every_canonical_sentence_is_read_whole_and_without_an_unknown_word(finding):
    for sentence in (canonical(finding), network_sentence(finding)):
        spaced = sentence.lower().replace(",", " ,").replace(".", " .").split()
        assert words_read(TOKENS(sentence)) == spaced


@given(findings, st.integers(10, 10**6))
def test_a_count_beyond_nine_is_one_unknown_word_and_nothing_else(finding, count):
    nine, many = (TOKENS(network_sentence(replace(finding, count=number))) for number in (9, count))
    unknown = [UNKNOWN if number == TOKENS.words.index("nine") else number for number in nine]
    assert list(many) == unknown


def places(tokens: tuple[int, ...]) -> tuple[list[str], dict[str, list[str]]]:
    """What is said before the places, and the zones of each side of the picture."""
    words, lead, named = words_read(tokens), [], {}
    if "lung" not in words:
        return words, {}
    while "," in words:
        lead += words[: words.index(",") + 1]
        words = words[words.index(",") + 1 :]
    for place in " ".join(words).removesuffix(" .").split(" and "):
        *of_side, side, lung = place.split()
        assert lung == "lung" and side in ("left", "right") and side not in named
        named[side] = of_side
    return lead, named


@given(findings)
def test_the_mirrored_finding_is_the_same_sentence_with_its_sides_exchanged(finding):
    (lead, named), (mirrored_lead, mirrored) = (
        places(TOKENS(network_sentence(f))) for f in (finding, finding.mirrored())
    )
    exchanged = {"left": "right", "right": "left"}
    assert mirrored_lead == lead
    assert mirrored == {exchanged[side]: of_side for side, of_side in named.items()}


@given(zones.filter(bool))
def test_a_network_reads_the_side_of_the_picture(of_side):
    assert list(places(TOKENS(network_sentence(Finding(left=of_side))))[1]) == ["right"]


@given(st.text() | st.text("Aa .,-5é漢\u0301\u0660_[]", max_size=200))
def test_any_text_is_read(text):
    tokens = TOKENS(text)
    assert len(tokens) == LENGTH and tokens[0] == FIRST and tokens.count(LAST) == 1
    assert all(0 <= number < len(TOKENS.words) for number in tokens)
    assert set(tokens[tokens.index(LAST) + 1 :]) <= {PAD}


def test_the_special_numbers_are_those_of_bert():
    assert (PAD, UNKNOWN, FIRST, LAST) == (0, 1, 2, 3)
    assert TOKENS.words[:4] == SPECIAL
    assert TOKENS("") == (2, 3, *[0] * 22)
    assert TOKENS("xyzzy") == (2, 1, 3, *[0] * 21)


def test_what_does_not_fit_is_cut_at_the_end():
    tokens = TOKENS("left " * 22)
    assert tokens[-1] == LAST and TOKENS("left " * 22 + "right") == tokens
    assert TOKENS("left " * 21 + "right") != tokens


def test_what_the_numbers_do_not_tell_is_told_by_its_words():
    assert TOKENS.lost("Left lung, zebra! zebra lung") == Lost(unknown=("zebra",))
    assert TOKENS.lost("left " * 22) == Lost()
    assert TOKENS.lost("left " * 21 + "zebra right, ox") == Lost(unknown=("zebra",), cut=("right", "ox"))


def test_a_collected_vocabulary_is_the_words_of_its_sentences_the_most_frequent_first():
    words = collected_words(["A polyp, a fold.", "Fold 12!", "polyp a"])
    assert words == (*SPECIAL, "a", "fold", "polyp", "!", ",", ".", "12")


@given(st.lists(st.text(), max_size=5))
def test_sentences_have_no_unknown_word_in_the_vocabulary_collected_from_them(sentences):
    read = WordTokens(collected_words(sentences))
    assert all(UNKNOWN not in read(sentence) for sentence in sentences)


def test_of_a_large_collection_the_rare_words_are_unknown():
    rare = [f"{number}" for number in range(MOST_WORDS)]
    words = collected_words([*rare, "usual usual"])
    assert len(words) == len(SPECIAL) + MOST_WORDS and words[len(SPECIAL)] == "usual"
    read = WordTokens(words)
    assert sum(UNKNOWN in read(word) for word in rare) == 1


# -- CXR-BERT's word pieces --


@pytest.fixture(scope="session")
def published_pieces(shared: Path) -> WordPieces:
    path = shared / "data" / "cxr-bert" / "vocab.txt"
    if not path.is_file():
        pytest.skip("../shared/data/cxr-bert/vocab.txt is not here")
    return WordPieces(path)


def padded(*tokens: int) -> tuple[int, ...]:
    return (*tokens, *[0] * (LENGTH - len(tokens)))


EXAMPLE_TOKENS = (2, 4026, 3004, 2585, 16, 2075, 4291, 3685, 16, 3802, 2279, 2572, 1700, 3802, 2354, 2572)


def test_published_tokens_of_a_report(published_pieces):
    assert published_pieces(EXAMPLE) == padded(*EXAMPLE_TOKENS, 3)
    with_stop = published_pieces(f"{EXAMPLE}.")
    assert with_stop[:16] == EXAMPLE_TOKENS and with_stop[17:] == padded(3)[:7]


def test_published_tokens_of_single_words(published_pieces):
    assert published_pieces("") == padded(2, 3)
    assert [published_pieces(word).index(3) - 1 for word in ("pneumothorax", "xyzzy")] == [1, 3]
    assert published_pieces("漢") == padded(2, 1, 3)
    assert published_pieces("PNEUMOTHORAX") == published_pieces("pneumothorax")


def test_a_long_text_is_cut_and_keeps_its_end_mark(published_pieces):
    tokens = published_pieces("left " * 40)
    assert len(tokens) == LENGTH and tokens[-1] == 3 and len(set(tokens[1:-1])) == 1


def test_what_the_published_tokens_do_not_tell_is_told_by_its_words(published_pieces):
    assert published_pieces.lost("Left 漢 pneumothorax") == Lost(unknown=("漢",))
    assert published_pieces.lost("left " * 22) == Lost()
    assert published_pieces.lost("left " * 21 + "Xyzzy, right") == Lost(cut=("Xyzzy", "right"))


@given(finding=findings)
def test_a_canonical_sentence_is_whole_words_of_cxr_bert(published_pieces, finding):
    sentence = network_sentence(finding)
    tokens = published_pieces(sentence)
    pieces = [published_pieces.vocabulary[number] for number in tokens[1 : tokens.index(3)]]
    assert pieces == sentence.lower().replace(",", " ,").replace(".", " .").split()


# -- CXR-BERT from a folder --

WIDTH = 16
PIECES = (*SPECIAL, "[MASK]", *TOKENS.words[len(SPECIAL) :], "##s")
PIECES = (*PIECES, *(f"unused{number}" for number in range(30_522 - len(PIECES))))
CONFIG = {  # as published, but narrow: the remote code that it names must stay where it is
    "architectures": ["CXRBertModel"],
    "auto_map": {
        "AutoConfig": "configuration_cxrbert.CXRBertConfig",
        "AutoModel": "modeling_cxrbert.CXRBertModel",
    },
    "model_type": "cxr-bert",
    "projection_size": 128,
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "transformers_version": "4.18.0",
    "attention_probs_dropout_prob": 0.25,
    "hidden_dropout_prob": 0.25,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "vocab_size": 30_522,
    "hidden_size": WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
SIZES = {key: value for key, value in CONFIG.items() if key not in ("architectures", "auto_map", "model_type")}


@pytest.fixture(scope="module")
def bert() -> BertModel:
    """The encoder that the folder holds, with the pooler that the published file has too."""
    torch.manual_seed(3)
    return BertModel(BertConfig(**SIZES)).eval()


def published_layout(bert: BertModel) -> dict[str, Tensor]:
    """Its tensors as they are published: with a prefix, a buffer, and two heads that nobody needs."""
    stored = {f"bert.{key}": value for key, value in bert.state_dict().items()}
    stored["bert.embeddings.position_ids"] = torch.arange(512)[None]
    stored["cls.predictions.bias"] = torch.zeros(30_522)
    stored["cls.predictions.transform.dense.weight"] = torch.randn(WIDTH, WIDTH)
    stored["cls_projection_head.dense_to_hidden.weight"] = torch.randn(128, WIDTH)
    return stored


class Code:
    """Leaves a folder behind when somebody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.trace),)


@pytest.fixture
def folder(bert: BertModel, tmp_path: Path) -> Path:
    """cxr-bert/ as a fetch leaves it, with code beside it that leaves a trace when it is run."""
    folder = tmp_path / "cxr-bert"
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    for name in ("configuration_cxrbert.py", "modeling_cxrbert.py", "tokenization_cxrbert.py"):
        (folder / name).write_text(f"from pathlib import Path\nPath({str(tmp_path / 'trace')!r}).touch()\n")
    torch.save(published_layout(bert), folder / "pytorch_model.bin")
    return folder


def said_by(bert: BertModel, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return bert(input_ids=tokens, attention_mask=(tokens != PAD).long()).last_hidden_state


def test_a_loaded_encoder_is_the_stored_one(bert, folder):
    encoder = CXRBert.load(folder)
    tokens = torch.tensor([encoder.tokenizer(sentence) for sentence in (EXAMPLE, "Upper left lung.", "")])
    vectors, present = encoder(tokens)
    assert (encoder.width, encoder.length) == (WIDTH, LENGTH) and not encoder.training
    assert torch.equal(vectors, said_by(bert, tokens))
    assert present.sum(1).tolist() == [17, 6, 2]
    assert not any(weight.requires_grad for weight in encoder.parameters())
    assert tokens[1, :6].tolist() == [2, *(PIECES.index(word) for word in ("upper", "left", "lung", ".")), 3]


def test_safetensors_are_taken_too(bert, folder):
    from safetensors.torch import save_file

    (folder / "pytorch_model.bin").unlink()
    save_file({key: value.clone() for key, value in published_layout(bert).items()}, folder / "model.safetensors")
    tokens = torch.tensor([TOKENS(EXAMPLE)])
    assert torch.equal(CXRBert.load(folder)(tokens)[0], said_by(bert, tokens))


def test_the_code_in_the_folder_is_not_run(folder, tmp_path):
    CXRBert.load(folder)
    assert not (tmp_path / "trace").exists()


def test_code_in_the_weights_is_not_run_but_refused(bert, folder, tmp_path):
    torch.save({**published_layout(bert), "bert.more": Code(tmp_path / "trace")}, folder / "pytorch_model.bin")
    with pytest.raises(WeightsMissing, match="textseg fetch cxr-bert"):
        CXRBert.load(folder)
    assert not (tmp_path / "trace").exists()


def of_another_width(path: Path) -> None:
    config = json.loads(path.with_name("config.json").read_text())
    path.with_name("config.json").write_text(json.dumps({**config, "intermediate_size": 64}))


def without_a_tensor(path: Path) -> None:
    stored = torch.load(path, weights_only=True)
    del stored["bert.encoder.layer.1.output.dense.weight"]
    torch.save(stored, path)


FAULTS: dict[str, Callable[[Path], object]] = {  # what happens to pytorch_model.bin
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "half": lambda path: path.write_bytes(path.read_bytes()[:-2000]),
    "text": lambda path: path.write_text("<html>not found</html>"),
    "no tensors": lambda path: path.write_bytes(pickle.dumps([1, 2], protocol=2)),
    "a list": lambda path: torch.save([1, 2], path),
    "of another width": of_another_width,
    "a tensor too few": without_a_tensor,
    "broken safetensors": lambda path: path.with_name("model.safetensors").write_bytes(b"none"),
    "no configuration": lambda path: path.with_name("config.json").unlink(),
    "half a configuration": lambda path: path.with_name("config.json").write_text('{"hidden_size": '),
    "no vocabulary": lambda path: path.with_name("vocab.txt").unlink(),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_folder_is_refused_with_what_to_do(folder, fault):
    FAULTS[fault](folder / "pytorch_model.bin")
    with pytest.raises(WeightsMissing, match="textseg fetch cxr-bert"):
        CXRBert.load(folder)


@pytest.mark.parametrize("pieces", [PIECES[:-1], (*PIECES, "more"), SPECIAL])
def test_a_vocabulary_of_another_size_is_refused(tmp_path, pieces):
    (tmp_path / "vocab.txt").write_text("\n".join(pieces) + "\n")
    with pytest.raises(WeightsMissing, match=r"30.?522.*textseg fetch cxr-bert"):
        WordPieces(tmp_path / "vocab.txt")


# -- Which encoder it is --


def with_pieces(folder: Path, pieces: tuple[str, ...]) -> Path:
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return folder


def with_weight(folder: Path, key: str) -> Path:
    path = folder / "pytorch_model.bin"
    stored = torch.load(path, weights_only=True)
    torch.save({**stored, key: stored[key] * 1.01}, path)
    return folder


def test_an_encoder_is_known_by_its_vocabulary_and_its_weights(folder):
    identity = CXRBert.load(folder).identity()
    assert CXRBert.load(folder).identity() == identity
    exchanged = (*PIECES[:-2], PIECES[-1], PIECES[-2])
    assert CXRBert.load(with_pieces(folder, exchanged)).identity() != identity
    assert CXRBert.load(with_pieces(folder, PIECES)).identity() == identity
    assert CXRBert.load(with_weight(folder, "cls_projection_head.dense_to_hidden.weight")).identity() == identity
    assert (
        CXRBert.load(with_weight(folder, "bert.encoder.layer.1.output.dense.bias")).identity() == identity
    )  # of zeros
    assert CXRBert.load(with_weight(folder, "bert.encoder.layer.1.output.dense.weight")).identity() != identity


@pytest.mark.parametrize("kind", ["frozen", "trained"])
def test_an_encoder_is_the_same_after_a_round_trip_through_half_precision(folder, kind):
    encoder = CXRBert.load(folder) if kind == "frozen" else CompactText(width=16, layers=1, heads=2)
    identity = encoder.identity()
    assert copy.deepcopy(encoder).half().float().identity() == identity
    with torch.no_grad():
        next(encoder.parameters()).mul_(1.01)
    assert encoder.identity() != identity


def test_random_weights_are_the_same_each_time_and_leave_the_random_numbers_alone(monkeypatch):
    monkeypatch.setattr(encoders, "CXR_BERT", SIZES)
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first, second, third = CXRBert.random(), CXRBert.random(), CXRBert.random(seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert first.identity() == second.identity() != third.identity()
    vectors, present = first(torch.tensor([TOKENS("Upper left lung."), TOKENS("Upper right lung.")]))
    assert not torch.allclose(vectors[0], vectors[1]) and present.sum(1).tolist() == [6, 6]


SMALL = {"encoder": "test_resnet", "widths": (8, 12, 16, 24), "channels": 4}
BY_BERT = replace(MODELS["tgcam"], settings=MappingProxyType(SMALL))
COMPACT = replace(MODELS["tgcam-compact"], settings=MappingProxyType(SMALL))


def stored(spec, encoder: TextEncoder, folder: Path, random: bool = False) -> Path:
    """The weights of a network that reads by that encoder."""
    network = build_network(spec, encoder)
    told = text_encoder_told(spec, network, verbatim=False, random=random)
    save_weights(network, folder / "mine.safetensors", {"threshold": 0.5, "text_encoder": told})
    return folder / "mine.safetensors"


def test_a_network_comes_back_with_the_encoder_of_its_folder(folder, tmp_path):
    encoder = trained_encoder(BY_BERT, tmp_path)
    loaded = load_stored(BY_BERT, stored(BY_BERT, encoder, tmp_path), pretrained=tmp_path)[0]
    assert loaded.text_encoder.identity() == encoder.identity()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: with_pieces(folder, (*PIECES[:-2], PIECES[-1], PIECES[-2])),
        lambda folder: with_weight(folder, "bert.embeddings.word_embeddings.weight"),
    ],
    ids=["vocabulary", "weights"],
)
def test_a_network_that_read_by_another_encoder_is_refused_with_what_to_do(folder, tmp_path, change):
    path = stored(BY_BERT, trained_encoder(BY_BERT, tmp_path), tmp_path)
    change(folder)
    with pytest.raises(
        WeightsMissing, match=r"mine\.safetensors.*another cxr-bert.*textseg fetch cxr-bert.*--pretrained"
    ):
        load_stored(BY_BERT, path, pretrained=tmp_path)


def test_a_network_without_its_encoder_says_how_to_get_it(folder, tmp_path):
    path = stored(BY_BERT, trained_encoder(BY_BERT, tmp_path), tmp_path)
    with pytest.raises(WeightsMissing, match=r"cxr-bert.*textseg fetch cxr-bert.*--pretrained"):
        load_stored(BY_BERT, path, pretrained=tmp_path / "elsewhere")


def test_a_network_that_read_other_words_is_refused(tmp_path):
    words = (*SPECIAL, *reversed(TOKENS.words[len(SPECIAL) :]))
    assert load_stored(COMPACT, stored(COMPACT, CompactText(), tmp_path))
    with pytest.raises(WeightsMissing, match=r"mine\.safetensors was trained with other words.*Train or install"):
        load_stored(COMPACT, stored(COMPACT, CompactText(words), tmp_path))


# -- Frozen, and trained with the network --


@pytest.fixture
def network(folder: Path, tmp_path: Path) -> nn.Module:
    return build_network(BY_BERT, trained_encoder(BY_BERT, tmp_path))


def test_a_frozen_encoder_is_no_part_of_what_is_stored(network):
    assert len(network.text_encoder.state_dict()) == 0
    kept = network.state_dict()
    assert kept and not any("text_encoder" in key or "bert" in key for key in kept)
    network.load_state_dict(kept)


def test_a_frozen_encoder_takes_no_weights_of_others(network):
    before, key = network.text_encoder.identity(), "text_encoder.bert.embeddings.word_embeddings.weight"
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=rf"{key}: the text encoder is frozen"):
            network.load_state_dict({**network.state_dict(), key: torch.zeros(len(PIECES), WIDTH)}, strict=strict)
    for tensors in ({}, {key.removeprefix("text_encoder."): torch.zeros(len(PIECES), WIDTH)}):
        with pytest.raises(RuntimeError, match="loads no weights"):
            network.text_encoder.load_state_dict(tensors)
    assert network.text_encoder.identity() == before


def test_copies_of_a_network_share_the_frozen_encoder(network):
    twin = copy.deepcopy(network)
    assert twin.text_encoder is network.text_encoder and twin.blocks is not network.blocks
    assert network.for_inference().text_encoder is network.text_encoder


def test_a_frozen_encoder_stays_in_evaluation_mode_and_keeps_its_weights(network):
    before = network.text_encoder.identity()
    network.train()
    assert network.training and not any(module.training for module in network.text_encoder.modules())
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.1, weight_decay=0.5)
    network(torch.rand(2, 3, 64, 64), torch.tensor([TOKENS(EXAMPLE), TOKENS("")])).logits.sum().backward()
    optimizer.step()
    assert network.text_encoder.identity() == before


def test_the_compact_encoder_reads_order_and_ignores_padding():
    torch.manual_seed(0)
    encoder = CompactText(width=16, layers=2, heads=2)
    tokens = torch.tensor([TOKENS("upper left lung"), TOKENS("left upper lung")])
    vectors, present = encoder(tokens)
    assert vectors.shape == (2, LENGTH, 16) and present.sum(1).tolist() == [5, 5]
    assert not torch.allclose(vectors[0, 3], vectors[1, 3])  # "lung", after the same words in another order
    with torch.no_grad():
        encoder.words.weight[PAD] = 5 * torch.randn(16)
        assert torch.allclose(encoder(tokens)[0][present], vectors[present], atol=1e-6)


def test_the_compact_encoder_says_the_same_in_training_and_evaluation():
    torch.manual_seed(0)
    encoder, tokens = CompactText(width=16, layers=2, heads=2), torch.tensor([TOKENS(EXAMPLE), TOKENS("no")])
    in_training, present = encoder.train()(tokens)
    with torch.no_grad():
        assert torch.allclose(encoder.eval()(tokens)[0][present], in_training[present], atol=1e-5)
