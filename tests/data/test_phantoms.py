"""Drawn chest pictures: repeatable, on the side and in the zone that their words name."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from textseg.data.phantoms import draw_ct_slice, draw_radiograph, random_places
from textseg.text.finding import ZONES, Finding

SIZE = 128
zones = st.sets(st.sampled_from(ZONES), min_size=1).map(lambda chosen: tuple(z for z in ZONES if z in chosen))
places = st.dictionaries(st.sampled_from(("left", "right")), zones, min_size=1)
seeds = st.integers(0, 2**32 - 1)


def half_of(mask: np.ndarray, side: str) -> np.ndarray:
    """The half of the standard display where the patient's `side` lies."""
    middle = mask.shape[1] // 2
    return mask[:, :middle] if side == "right" else mask[:, middle:]


def parts(mask: np.ndarray) -> int:
    """8-connected parts, counted by ITK."""
    connect = sitk.ConnectedComponentImageFilter()
    connect.FullyConnectedOn()
    connect.Execute(sitk.GetImageFromArray(mask))
    return connect.GetObjectCount()


def middle_row(mask: np.ndarray) -> float:
    return float(np.nonzero(mask)[0].mean())


@given(places, seeds)
@settings(max_examples=15)
def test_the_same_seed_draws_the_same_picture(where, seed):
    first, second = (draw_radiograph(where, seed, SIZE) for _ in range(2))
    assert np.array_equal(first.image, second.image) and np.array_equal(first.mask, second.mask)
    assert first.finding == second.finding


def test_another_seed_draws_another_picture():
    first, second = (draw_radiograph({"left": ("lower",)}, seed, SIZE) for seed in (1, 2))
    assert not np.array_equal(first.image, second.image)
    assert not np.array_equal(first.mask, second.mask)


@given(places, seeds)
@settings(max_examples=40)
def test_the_words_tell_what_is_drawn(where, seed):
    phantom = draw_radiograph(where, seed, SIZE)
    assert (phantom.finding.left, phantom.finding.right) == (where.get("left", ()), where.get("right", ()))
    assert phantom.finding.count == parts(phantom.mask)
    assert set(np.unique(phantom.mask)) == {0, 1}
    assert (phantom.image.dtype, phantom.image.shape, phantom.mask.shape) == (np.uint8, (SIZE, SIZE), (SIZE, SIZE))


@given(places, seeds)
@settings(max_examples=40)
def test_the_patients_right_lung_is_on_the_pictures_left(where, seed):
    mask = draw_radiograph(where, seed, SIZE).mask
    assert {side for side in ("left", "right") if half_of(mask, side).any()} == set(where)


@given(st.sampled_from(("left", "right")), seeds)
@settings(max_examples=30)
def test_each_zone_has_its_area_in_its_side_from_top_to_bottom(side, seed):
    masks = [draw_radiograph({side: (zone,)}, seed, SIZE).mask for zone in ZONES]
    assert all(half_of(mask, side).sum() == mask.sum() > 20 for mask in masks)
    upper, middle, lower = (middle_row(mask) for mask in masks)
    assert upper + 0.08 * SIZE < middle < lower - 0.08 * SIZE
    assert np.nonzero(masks[0])[0].max() < np.nonzero(masks[2])[0].min()


def test_infection_is_brighter_than_the_lung_around_it():
    ill = draw_radiograph({"left": ("middle",)}, 5, SIZE)
    other_side = draw_radiograph({"right": ("middle",)}, 5, SIZE)
    where = ill.mask > 0
    assert ill.image[where].mean() > other_side.image[where].mean() + 20


def test_without_places_nothing_is_marked():
    phantom = draw_radiograph({}, 3, SIZE)
    assert phantom.mask.sum() == 0
    assert phantom.finding == Finding(absent=True)


@pytest.mark.parametrize("size", [64, 224, 512])
def test_pictures_are_as_large_as_asked(size):
    phantom = draw_radiograph({"left": ("lower",)}, 0, size)
    assert phantom.image.shape == phantom.mask.shape == (size, size)
    assert 0.003 < phantom.mask.mean() < 0.2


@given(seeds)
def test_random_places_name_at_least_one_zone_in_order(seed):
    where = random_places(np.random.default_rng(seed))
    assert set(where) <= {"left", "right"} and where
    assert all(chosen and chosen == tuple(z for z in ZONES if z in chosen) for chosen in where.values())


def test_random_places_are_mostly_on_both_sides_and_use_every_zone():
    random = np.random.default_rng(0)
    drawn = [random_places(random) for _ in range(200)]
    assert 0.5 < np.mean([len(where) == 2 for where in drawn]) < 0.9
    assert {(side, zone) for where in drawn for side, chosen in where.items() for zone in chosen} == {
        (side, zone) for side in ("left", "right") for zone in ZONES
    }


@pytest.mark.parametrize("sides", [(), ("left",), ("right",), ("left", "right")])
def test_a_ct_slice_is_marked_on_the_sides_asked_for(sides):
    values, mask = draw_ct_slice(sides, 0.5, seed=0)
    assert {side for side in ("left", "right") if half_of(mask, side).any()} == set(sides)
    assert values.dtype == np.int16 and values.min() >= -1024
    if sides:
        assert -350 < values[mask > 0].mean() < -150  # between aerated lung and soft tissue


@pytest.mark.parametrize("height", [0.0, 0.1, 0.9, 1.0])
def test_base_and_apex_of_a_ct_are_healthy(height):
    assert draw_ct_slice(("left", "right"), height, seed=0)[1].sum() == 0


def test_the_same_seed_draws_the_same_ct_slice():
    (first, _), (second, _), (other, _) = (draw_ct_slice(("left",), 0.5, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, second) and not np.array_equal(first, other)
