"""Words from a mask: the lungs, zones and areas that are drawn; and masks that contradict their prompt."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from textseg.data.phantoms import draw_ct_slice, draw_radiograph, random_places
from textseg.errors import DataError
from textseg.imaging.lung_rows import lung_rows
from textseg.text.finding import ZONES, Finding
from textseg.text.from_mask import contradiction, finding_of

SIZE = 128
SIDES = ("left", "right")
OTHER = {"left": "right", "right": "left"}
shapes = st.tuples(st.integers(1, 24), st.integers(1, 24))
masks = shapes.flatmap(lambda shape: arrays.arrays(bool, shape))
seeds = st.integers(0, 2**32 - 1)


def drawn(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of 100 x 100 with boxes (top, bottom, first column, column after the last)."""
    mask = np.zeros((100, 100), bool)
    for top, bottom, first, stop in boxes:
        mask[top:bottom, first:stop] = True
    return mask


def on(side: str, top: int = 40, bottom: int = 60) -> np.ndarray:
    """An area in the patient's `side` lung; the patient's right is on the picture's left."""
    return drawn((top, bottom, 15, 35) if side == "right" else (top, bottom, 65, 85))


def a_phantom(seed: int, size: int = SIZE):
    return draw_radiograph(random_places(np.random.default_rng(seed)), seed, size)


def named(finding: Finding) -> set[str]:
    return {side for side in SIDES if getattr(finding, side)}


@given(masks)
def test_a_mirrored_mask_gives_the_mirrored_finding(mask):
    assert finding_of(mask[:, ::-1]) == finding_of(mask).mirrored()


@given(masks)
def test_whatever_is_drawn_has_a_place_and_a_count(mask):
    finding = finding_of(mask)
    assert finding.absent is not mask.any()
    assert (finding.count is not None) == bool(named(finding)) == mask.any()


@given(masks)
def test_a_mask_never_contradicts_its_own_words(mask):
    assert contradiction(finding_of(mask), mask) is None


def test_a_speck_in_the_second_lung_is_enough_for_a_prompt_of_both():
    mask = on("left", 20, 80) | drawn((50, 51, 20, 21))
    assert mask[:, :50].mean() < 0.001
    assert contradiction(finding_of(mask), mask) is None


@given(seeds)
@settings(max_examples=40)
def test_a_phantoms_lungs_and_areas_are_told_as_drawn(seed):
    phantom = a_phantom(seed)
    finding = finding_of(phantom.mask)
    assert named(finding) == named(phantom.finding)
    assert finding.count == phantom.finding.count
    assert contradiction(phantom.finding, phantom.mask) is None


def test_a_phantoms_zones_are_told_as_drawn_in_19_of_20_lungs():
    told = []
    for seed in range(80):
        phantom = a_phantom(seed)
        finding = finding_of(phantom.mask, lung=lung_rows(phantom.image / 255))
        told += [getattr(finding, side) == getattr(phantom.finding, side) for side in named(phantom.finding)]
    assert np.mean(told) >= 0.95


@given(seeds, st.integers(2, 4))
@settings(max_examples=10)
def test_a_larger_picture_of_the_same_gives_the_same_words(seed, factor):
    mask = a_phantom(seed).mask
    assert finding_of(np.kron(mask, np.ones((factor, factor)))) == finding_of(mask)


@pytest.mark.parametrize("stretch", [(1, 3), (3, 1)])
def test_a_picture_stretched_along_one_axis_gives_the_same_words(stretch):
    for seed in range(5):
        mask = a_phantom(seed).mask
        assert finding_of(np.kron(mask, np.ones(stretch))) == finding_of(mask)


def test_an_empty_mask_denies_any_infection():
    empty = drawn()
    assert finding_of(empty) == finding_of(empty, sides_known=False) == finding_of(empty, zones=False)
    assert finding_of(empty) == Finding(absent=True)


@pytest.mark.parametrize("side", SIDES)
def test_the_side_is_the_patients(side):
    assert named(finding_of(on(side))) == {side}


@pytest.mark.parametrize("side", SIDES)
def test_zones_follow_the_lungs_height(side):
    zones = [getattr(finding_of(on(side, top, top + 14)), side) for top in (12, 34, 60)]
    assert zones == [("upper",), ("middle",), ("lower",)]
    assert getattr(finding_of(on(side, 12, 76)), side) == ZONES


def test_where_the_lungs_lie_higher_the_same_area_lies_lower_in_them():
    area = on("left", 40, 50)
    assert finding_of(area, lung=(0.02, 0.55)).left == ("lower",)
    assert finding_of(area, lung=(0.35, 0.98)).left == ("upper",)


def test_an_area_too_small_for_any_zone_is_put_where_most_of_it_lies():
    assert finding_of(drawn((15, 16, 70, 71))) == Finding(left=("upper",), count=1)


def test_an_area_across_the_midline_names_both_lungs_and_one_that_only_touches_it_does_not():
    assert named(finding_of(drawn((30, 50, 30, 70)))) == {"left", "right"}
    assert named(finding_of(drawn((30, 50, 45, 80)))) == {"left"}
    assert named(finding_of(drawn((30, 50, 20, 55)))) == {"right"}


def test_a_small_separate_area_names_its_lung():
    assert named(finding_of(on("left") | drawn((70, 73, 20, 23)))) == {"left", "right"}


def test_areas_that_touch_by_a_corner_are_one():
    assert finding_of(drawn((30, 40, 10, 20), (40, 50, 20, 30))).count == 1
    assert finding_of(drawn((30, 40, 10, 20), (41, 50, 20, 30))).count == 2


def test_without_known_sides_only_the_count_is_told():
    finding = finding_of(on("left") | on("right"), sides_known=False)
    assert finding == Finding(count=2)
    assert finding.anywhere


@pytest.mark.parametrize("sides", [("left",), ("right",), SIDES])
def test_a_ct_slice_has_lungs_and_no_zones(sides):
    finding = finding_of(draw_ct_slice(sides, 0.5, seed=0)[1], zones=False)
    assert finding == Finding(**dict.fromkeys(sides, ZONES), count=len(sides))


@pytest.mark.parametrize("shape", [(4,), (1, 4, 4)])
def test_a_mask_that_is_no_single_slice_is_refused(shape):
    for told in (finding_of, lambda mask: contradiction(Finding(), mask)):
        with pytest.raises(DataError, match="give one slice"):
            told(np.zeros(shape, bool))


@pytest.mark.parametrize("side", SIDES)
def test_an_area_in_the_other_lung_contradicts_the_prompt(side):
    finding = Finding(**{side: ("lower",)})
    sentence = contradiction(finding, on(OTHER[side]))
    assert f"names the patient's {side} lung alone, but 100% " in sentence
    assert f"patient's {OTHER[side]} lung (the picture's {side} half)" in sentence
    assert contradiction(finding, on(side)) is None


@pytest.mark.parametrize("side", SIDES)
def test_half_of_the_area_in_the_other_lung_contradicts_and_a_little_does_not(side):
    finding = Finding(**{side: ("middle",)})
    assert "50%" in contradiction(finding, on("left") | on("right"))
    assert contradiction(finding, on(side) | on(OTHER[side], 55, 60)) is None


@pytest.mark.parametrize("side", SIDES)
def test_a_lung_left_out_of_two_contradicts(side):
    both = Finding(left=ZONES, right=("lower",))
    sentence = contradiction(both, on(side))
    assert f"lies in the patient's {side} lung" in sentence and f"Draw the area in the {OTHER[side]} lung" in sentence
    assert contradiction(both, on("left") | on("right")) is None


@pytest.mark.parametrize("side", SIDES)
def test_a_lung_that_is_denied_may_hold_nothing(side):
    finding = Finding(**{f"absent_{side}": True})
    assert f"in the patient's {side} lung" in contradiction(finding, on(side))
    assert contradiction(finding, on(OTHER[side])) is None


@pytest.mark.parametrize("finding", [Finding(absent=True), Finding(absent_left=True, absent_right=True)])
def test_something_drawn_contradicts_a_prompt_that_denies_everything(finding):
    for sides_known in (True, False):
        assert "denies any infection" in contradiction(finding, on("left"), sides_known)
    assert contradiction(finding, drawn()) is None


@pytest.mark.parametrize("finding", [Finding(left=("lower",)), Finding(left=ZONES, right=ZONES), Finding(count=3)])
def test_an_empty_mask_contradicts_nothing(finding):
    assert contradiction(finding, drawn()) is None


@given(masks, st.none() | st.integers(1, 9))
def test_a_prompt_without_a_place_is_never_contradicted(mask, count):
    assert contradiction(Finding(count=count), mask) is None


def test_zones_and_counts_are_not_held_against_anyone():
    assert contradiction(Finding(left=("upper",), count=5), on("left", 70, 80)) is None


def test_where_sides_are_unknown_no_side_is_contradicted():
    assert contradiction(Finding(left=("lower",)), on("right"), sides_known=False) is None


@given(seeds)
@settings(max_examples=20)
def test_a_phantom_of_one_lung_contradicts_its_mirrored_words(seed):
    finding = a_phantom(seed).finding
    mask = a_phantom(seed).mask
    assert finding.two_sided or contradiction(finding.mirrored(), mask)
