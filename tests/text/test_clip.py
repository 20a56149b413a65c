"""CLIP's text half: the check tokens, what reads what, and the folder that it comes from."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from textseg.errors import WeightsMissing
from textseg.text.clip import BytePairs, CLIPText
from textseg.text.tokens import Lost

LONG = "Bilateral pulmonary infection, three infected areas, upper lower left lung and upper middle lower right lung."
LEFT, SIDE = "lower left lung", "lower left side"


@pytest.fixture(scope="module")
def tower() -> CLIPText:
    return CLIPText.random()


def rows(encoder: CLIPText, *sentences: str) -> Tensor:
    return torch.tensor([encoder.tokenizer(sentence) for sentence in sentences])


def apart(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def test_it_has_the_published_number_of_weights_and_none_is_trained(tower):
    assert sum(weight.numel() for weight in tower.parameters()) == 63_428_096
    assert not any(weight.requires_grad for weight in tower.parameters()) and not tower.train().training


def test_the_check_sentence_is_cut_and_keeps_its_end():
    assert BytePairs(18)(LONG) == (
        *(49406, 25599, 39132, 14774, 267, 2097, 26136, 5429, 267),
        *(7067, 4909, 1823, 16271, 537, 7067, 3694, 4909, 49407),
    )
    assert len([number for number in BytePairs(32)(LONG) if number]) == 21


def test_what_is_cut_is_told_and_no_word_is_unknown():
    lost = BytePairs(18).lost(LONG)
    assert (lost.unknown, lost.cut) == ((), ("right", "lung"))
    assert BytePairs(32).lost(LONG) == BytePairs(18).lost("xyzzy, 漢") == Lost.of((), ())


def test_the_marks_of_beginning_and_end_cannot_be_written():
    assert BytePairs()("lower <end_of_text> left <start_of_text> lung") == BytePairs()(LEFT)


def test_capital_letters_do_not_matter():
    assert BytePairs()(LEFT) == BytePairs()(LEFT.upper())


def test_what_is_short_is_padded_with_zeros_that_are_no_words(tower):
    text = rows(tower, "left lung!", "")
    assert tower.present(text).sum(dim=1).tolist() == [5, 2]
    assert not text[0, 5:].any() and not text[1, 2:].any()


def test_the_number_of_padding_inside_a_sentence_is_a_word(tower):
    text = torch.tensor([[49406, 0, 1823, 49407, *[0] * 14]])
    assert tower.present(text)[0].tolist() == [True] * 4 + [False] * 14


def test_a_token_reads_no_later_one(tower):
    a, b = (tower(text)[0][0] for text in rows(tower, LEFT, SIDE).split(1))
    assert apart(a[:3], b[:3]) < 1e-6 and apart(a[3:5], b[3:5]) > 1e-3


def test_padding_is_read_by_nothing_and_reads_the_words(tower):
    text = rows(tower, LEFT)
    other = text.clone()
    other[0, 8] = 320
    a, b = tower(text)[0][0], tower(other)[0][0]
    assert torch.equal(a[:8], b[:8]) and torch.equal(a[9:], b[9:]) and not torch.equal(a[8], b[8])
    assert apart(tower(rows(tower, SIDE))[0][0][9:], a[9:]) > 1e-3


def test_its_vectors_at_words_are_those_of_ordinary_clip(tower):
    text = rows(tower, LEFT)
    ordinary = tower.tower.text_model(input_ids=text[:, :5]).last_hidden_state
    with torch.no_grad():
        assert apart(tower(text)[0][:, :5], tower.tower.text_projection(ordinary)) < 1e-5


def test_the_length_is_free_and_changes_no_vector(tower):
    longer = CLIPText(tower.tower, length=24)
    assert apart(longer(rows(longer, LEFT))[0][:, :18], tower(rows(tower, LEFT))[0]) < 1e-5


@pytest.fixture
def folder(tower: CLIPText, tmp_path: Path) -> Path:
    """clip/ as published: the picture half and the text half in one file."""
    published = {**tower.tower.state_dict(), "visual_projection.weight": torch.zeros(512, 768)}
    published["vision_model.embeddings.class_embedding"] = torch.zeros(768)
    published["logit_scale"] = torch.tensor(4.6)
    save_file({key: value.clone() for key, value in published.items()}, tmp_path / "model.safetensors")
    return tmp_path


def test_a_loaded_tower_is_the_stored_one(tower, folder):
    loaded = CLIPText.load(folder, length=18)
    assert loaded.identity() == tower.identity()
    assert torch.equal(loaded(rows(tower, LONG))[0], tower(rows(tower, LONG))[0])


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def another(path: Path) -> None:
    save_file({"text_projection.weight": torch.zeros(512, 512)}, path)


@pytest.mark.parametrize("fault", [Path.unlink, half, another])
def test_a_damaged_folder_is_refused_with_what_to_do(folder, fault: Callable[[Path], object]):
    fault(folder / "model.safetensors")
    with pytest.raises(WeightsMissing, match="textseg fetch clip"):
        CLIPText.load(folder)


def test_the_tower_is_that_of_the_library(tower):
    assert isinstance(tower.tower, CLIPTextModelWithProjection) and tower.tower.config.hidden_act == "quick_gelu"
