"""What a score says: nothing where all masks agree, and by which question they are apart where they do not."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from stand_in import SIZE, flat, spot, stand_in
from textseg.choosing.disagreement import COUNT, FLIP, TEXT, WEIGHTS, WORDS, ZONE, apart, changed, disagreement, look_of
from textseg.engine.texts import Said
from textseg.imaging.read import read_picture
from textseg.text.eight_numbers import NO_TEXT
from textseg.text.finding import ZONES, Finding

RIGHT_LUNG, LEFT_LUNG = slice(2, 12), slice(20, 30)  # columns of the standard display
ROWS = slice(8, 20)
LOWER_RIGHT = Said(Finding(right=("lower",), count=1))


def side_asked(picture: np.ndarray, text: tuple[float, ...]) -> np.ndarray:
    """Draws in the half that the text names, the same area whatever else it says; without text on both sides."""
    if text == NO_TEXT:
        return np.maximum(spot(ROWS, RIGHT_LUNG), spot(ROWS, LEFT_LUNG))
    return spot(ROWS, RIGHT_LUNG if any(text[2:5]) else LEFT_LUNG)


def test_masks_that_agree_give_no_score(tmp_path: Path) -> None:
    told = disagreement(stand_in(lambda picture, text: (picture - 0.6) * 50), flat(tmp_path), LOWER_RIGHT)
    assert told.score == pytest.approx(0, abs=1e-6)
    assert set(told.parts) == {COUNT, ZONE, TEXT, FLIP, WORDS}


def test_the_flipped_picture_is_asked_for_the_other_side_and_laid_back(tmp_path: Path) -> None:
    told = disagreement(stand_in(side_asked), flat(tmp_path), LOWER_RIGHT)
    assert told.parts[FLIP] == told.parts[ZONE] == told.parts[COUNT] == told.parts[WORDS] == 0
    assert told.parts[TEXT] == pytest.approx(1 / 3, abs=0.05)  # Dice of one lung against both: 2/3
    assert told.score == pytest.approx(WEIGHTS[TEXT] * told.parts[TEXT])


def test_a_model_that_always_draws_on_one_side_disagrees_with_itself_when_flipped(
    tmp_path: Path,
) -> None:
    told = disagreement(stand_in(lambda picture, text: spot(ROWS, RIGHT_LUNG)), flat(tmp_path), LOWER_RIGHT)
    assert told.parts[FLIP] > 0.8
    assert told.parts[TEXT] == 0


@pytest.mark.parametrize(
    ("part", "differs"),
    [(COUNT, lambda text: text[1] == 2), (ZONE, lambda text: text != NO_TEXT and text[3] == 1)],
)
def test_each_question_has_its_part(tmp_path: Path, part: str, differs) -> None:
    def rule(picture: np.ndarray, text: tuple[float, ...]) -> np.ndarray:
        return spot(slice(0, 2), slice(0, 32)) if differs(text) else (picture - 0.6) * 50

    told = disagreement(stand_in(rule), flat(tmp_path), LOWER_RIGHT)
    assert {name for name, value in told.parts.items() if value > 0.5} == {part}


def test_a_mask_that_contradicts_the_words_counts(tmp_path: Path) -> None:
    told = disagreement(stand_in(lambda picture, text: spot(ROWS, LEFT_LUNG)), flat(tmp_path), LOWER_RIGHT)
    assert told.parts[WORDS] == 1


def test_an_empty_mask_contradicts_words_that_name_something(tmp_path: Path) -> None:
    told = disagreement(stand_in(lambda picture, text: np.full((SIZE, SIZE), -20.0)), flat(tmp_path), LOWER_RIGHT)
    assert told.parts[WORDS] == 1
    assert told.parts[FLIP] == pytest.approx(0, abs=1e-6)


def test_without_words_only_the_flip_is_left(tmp_path: Path) -> None:
    told = disagreement(stand_in(lambda picture, text: spot(ROWS, RIGHT_LUNG)), flat(tmp_path), Said())
    assert set(told.parts) == {FLIP}
    assert told.score == pytest.approx(WEIGHTS[FLIP] * told.parts[FLIP])


def test_a_denial_teaches_nothing_whatever_the_network_says(tmp_path: Path) -> None:
    predictor = stand_in(side_asked)
    assert disagreement(predictor, flat(tmp_path), Said(Finding(absent=True))).score == 0


def test_a_volume_is_looked_at_in_three_of_its_slices(tmp_path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((40, 16, 16), np.int16)), str(tmp_path / "volume.nii.gz"))
    predictor = stand_in(lambda picture, text: spot(ROWS, RIGHT_LUNG))
    volume = read_picture(tmp_path / "volume.nii.gz")
    told = disagreement(predictor, volume, Said())
    assert predictor.network.passes == 3 * 4  # the picture and the flipped one: encoded, and asked once
    assert told.look.shape == look_of(predictor, volume).shape == (6,)
    assert np.linalg.norm(told.look.astype(float)) == pytest.approx(1, abs=1e-2)


def test_there_is_a_pause_before_every_pass_and_what_it_raises_ends_the_work(tmp_path: Path) -> None:
    predictor, pauses = stand_in(side_asked), []
    disagreement(predictor, flat(tmp_path), LOWER_RIGHT, lambda: pauses.append(predictor.network.passes))
    assert pauses == list(range(predictor.network.passes))

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        disagreement(predictor, flat(tmp_path), LOWER_RIGHT, stop)


def test_a_score_does_not_push_out_what_is_kept_for_the_next_request(tmp_path: Path) -> None:
    predictor, picture = stand_in(side_asked), flat(tmp_path)
    for number in range(6):
        disagreement(predictor, flat(tmp_path, grey=number, name=f"other{number}"), LOWER_RIGHT)
    assert len(predictor._pictures) == 0
    predictor.predict(picture, LOWER_RIGHT)
    assert len(predictor._pictures) == 1


@pytest.mark.parametrize(
    ("finding", "counts", "wider"),
    [
        (Finding(left=("lower",), count=1), {2}, ("middle", "lower")),
        (Finding(left=("upper",), count=3), {2, 4}, ("upper", "middle")),
        (Finding(left=("upper", "lower")), set(), ZONES),
        (Finding(left=ZONES), set(), None),
        (Finding(), set(), None),
    ],
)
def test_how_words_are_changed(finding: Finding, counts: set[int], wider: tuple[str, ...] | None) -> None:
    found = list(changed(finding))
    assert {each.count for kind, each in found if kind == COUNT} == counts
    assert [each.left for kind, each in found if kind == ZONE] == ([wider] if wider else [])


def test_maps_that_are_as_good_as_empty_are_not_apart() -> None:
    noise = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.01
    assert apart(noise, noise.flip(-1)) < 0.01
    full = torch.zeros(1, 1, 64, 64)
    full[..., :32] = 1
    assert apart(full, full.flip(-1)) > 0.9
    assert apart(full, full) == 0


@pytest.mark.parametrize(("words", "is_asked"), [("left lower lobe", True), ("lingula", False), ("lefft lung", False)])
def test_words_whose_side_cannot_be_changed_are_not_asked_of_the_flipped_picture(tmp_path, words, is_asked) -> None:
    found = disagreement(stand_in(lambda picture, text: picture), flat(tmp_path), Said(words=words))
    assert (FLIP in found.parts) is is_asked
