"""Asking again: the picture's half of the work and the prompt's are each done once, and nothing is mixed up."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from textseg.engine.predictor import KEPT_PICTURES, Predictor
from textseg.engine.texts import Said
from textseg.imaging.read import read_picture
from textseg.registry import MODELS
from textseg.text.finding import Finding
from textseg.text.prompt import read_prompt
from textseg.text.tokens import WordTokens

SIZE = 16
LEFT, RIGHT = Said(Finding(left=("lower",))), Said(Finding(right=("upper",)))


class Counting(torch.nn.Module):
    """Probability by the picture's brightness and the number of the text; counts what it is asked."""

    text_encoder = None

    def __init__(self) -> None:
        super().__init__()
        self.pictures, self.prompts = 0, 0

    def encode_image(self, image: torch.Tensor) -> list[torch.Tensor]:
        self.pictures += 1
        return [image[:, :1]]

    def encode_prompt(self, text: torch.Tensor) -> torch.Tensor:
        self.prompts += 1
        return text

    def segment(self, features: list[torch.Tensor], text: torch.Tensor) -> torch.Tensor:
        return features[0] + text[:, 2:5].sum() - text[:, 5:8].sum()


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(replace(MODELS["c2fvl-compact"], input_size=SIZE), Counting(), 0.5, "v", "cpu")


def picture(brightness: float, count: int = 1) -> torch.Tensor:
    return torch.full((count, 3, SIZE, SIZE), brightness)


def expected(brightness: float, said: Said) -> float:
    """The stand-in's own rule: the patient's left is on the picture's right."""
    return torch.sigmoid(torch.tensor(brightness + (1.0 if said is RIGHT else -1.0))).item()


def test_another_prompt_on_the_same_picture_needs_no_second_look(predictor):
    for said in (LEFT, RIGHT, LEFT):
        found = predictor.probabilities(predictor.encode(picture(0.25)), said)
        assert found.mean().item() == pytest.approx(expected(0.25, said), abs=1e-6)
    assert (predictor.network.pictures, predictor.network.prompts) == (1, 2)


def test_the_same_prompt_on_another_picture_is_not_read_again(predictor):
    for brightness in (0.1, 0.2, 0.3):
        found = predictor.probabilities(predictor.encode(picture(brightness)), LEFT)
        assert found.mean().item() == pytest.approx(expected(brightness, LEFT), abs=1e-6)
    assert (predictor.network.pictures, predictor.network.prompts) == (3, 1)


def test_a_picture_that_differs_in_one_pixel_is_another_one(predictor):
    other = picture(0.5)
    other[0, 0, 3, 3] = 0.51
    assert not torch.equal(predictor.encode(picture(0.5))[0], predictor.encode(other)[0])


def test_only_a_few_pictures_are_kept_and_no_slices_of_volumes(predictor):
    for number in range(KEPT_PICTURES + 1):
        predictor.encode(picture(number / 10))
    predictor.encode(picture(0.0))
    assert predictor.network.pictures == KEPT_PICTURES + 2
    for _ in range(2):
        predictor.encode(picture(0.9, count=3))
    assert predictor.network.pictures == KEPT_PICTURES + 4


def test_requests_at_the_same_time_get_their_own_answers(predictor):
    asked = [(number % 7 / 7, (LEFT, RIGHT)[number % 2]) for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda one: predictor.probabilities(predictor.encode(picture(one[0])), one[1]), asked))
    for probabilities, (brightness, said) in zip(found, asked, strict=True):
        assert probabilities.mean().item() == pytest.approx(expected(brightness, said), abs=1e-6)


@pytest.mark.parametrize(("count", "lost"), [(9, ()), (12, ("Not known to c2fvl-compact and not used: 12.",))])
def test_only_a_word_that_is_lost_of_the_canonical_sentence_is_told(tmp_path, count, lost):
    Image.fromarray(np.zeros((SIZE, SIZE), np.uint8)).save(tmp_path / "picture.png")
    network = Counting()
    network.text_encoder = SimpleNamespace(tokenizer=WordTokens())
    predictor = Predictor(replace(MODELS["c2fvl-compact"], input_size=SIZE), network, 0.5, "v", "cpu")
    said = Said.of(read_prompt(f"{count} zebra opacities in the left lung"))
    assert predictor.predict(read_picture(tmp_path / "picture.png"), said).warnings == lost


def test_a_denial_is_not_asked_of_the_network_but_a_model_that_reads_words_decides_itself(predictor):
    denied = "No pulmonary infection."
    asked = Said.of(read_prompt(denied))
    assert predictor.probabilities(predictor.encode(picture(0.5)), asked).max() == 0
    assert predictor.network.prompts == 0
    asked = Said.of(read_prompt(denied, spoken="patient"))
    assert predictor.probabilities(predictor.encode(picture(0.5)), asked).max() > 0
