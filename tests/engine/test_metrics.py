"""Dice and IoU in both published families, and what counts when there is nothing to find."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textseg.engine.metrics import Overlap, summary

# Large and half found: 50 of 100. Small and found in full, with as much beside it: 10 of 20 predicted.
LARGE, SMALL, EMPTY = Overlap(50, 50, 100), Overlap(10, 20, 10), Overlap(0, 0, 0)
MISSED, FALSE_ALARM = Overlap(0, 0, 7), Overlap(0, 7, 0)


@st.composite
def overlaps(draw) -> Overlap:
    predicted, reference = draw(st.integers(0, 500)), draw(st.integers(0, 500))
    return Overlap(draw(st.integers(0, min(predicted, reference))), predicted, reference)


def test_pixels_are_counted():
    predicted = np.array([[True, True, False], [False, True, False]])
    reference = np.array([[True, False, True], [False, True, True]])
    assert Overlap.of(predicted, reference) == Overlap(both=2, predicted=3, reference=4)


def test_scores_of_one_image():
    assert LARGE.dice() == pytest.approx(2 * 50 / 150)
    assert LARGE.iou() == pytest.approx(50 / 100)


def test_both_families_of_a_batch_worked_out_by_hand():
    scores = summary([LARGE, SMALL])
    assert scores["dice_image"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scores["iou_image"] == pytest.approx((1 / 2 + 1 / 2) / 2)
    assert scores["dice_micro"] == pytest.approx(2 * 60 / (70 + 110))
    assert scores["iou_micro"] == pytest.approx(60 / 120)
    assert (scores["images"], scores["both_empty"]) == (2, 0)


def test_a_missed_small_image_weighs_in_the_mean_and_hardly_when_pooled():
    scores = summary([Overlap(1000, 1000, 1000), Overlap(0, 0, 10)])
    assert scores["dice_image"] == pytest.approx(0.5)
    assert scores["dice_micro"] == pytest.approx(2000 / 2010)
    assert scores["iou_micro"] == pytest.approx(1000 / 1010)


def test_nothing_to_find_and_nothing_found_is_right_and_counted():
    assert (EMPTY.dice(), EMPTY.iou()) == (1, 1)
    scores = summary([EMPTY, LARGE, EMPTY])
    assert scores["both_empty"] == 2
    assert scores["dice_image"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert scores["dice_micro"] == pytest.approx(LARGE.dice())


def test_nothing_to_find_and_nothing_found_is_zero_by_the_papers_protocol():
    assert (EMPTY.dice(paper=True), EMPTY.iou(paper=True)) == (0, 0)
    scores = summary([EMPTY, LARGE], paper=True)
    assert scores["dice_image"] == pytest.approx((2 / 3) / 2, abs=1e-6)
    assert scores["iou_image"] == pytest.approx((1 / 2) / 2, abs=1e-6)
    assert scores["both_empty"] == 1


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("overlap", [MISSED, FALSE_ALARM])
def test_a_miss_and_a_false_alarm_score_zero(overlap, paper):
    assert (overlap.dice(paper), overlap.iou(paper)) == (0, 0)
    assert not overlap.both_empty


def test_a_single_pixel_shows_the_papers_constant():
    assert Overlap(1, 1, 1).dice() == 1
    assert Overlap(1, 1, 1).dice(paper=True) == pytest.approx(2 / 2.00001, abs=1e-9)


def test_no_images_give_no_mean():
    scores = summary([])
    assert math.isnan(scores["dice_image"]) and math.isnan(scores["iou_image"])
    assert (scores["images"], scores["both_empty"]) == (0, 0)


@given(overlaps())
def test_dice_and_iou_tell_the_same_story(overlap):
    assert 0 <= overlap.iou() <= overlap.dice() <= 1
    assert overlap.iou() == pytest.approx(overlap.dice() / (2 - overlap.dice()))


@given(overlaps())
def test_prediction_and_reference_may_change_places(overlap):
    swapped = Overlap(overlap.both, overlap.reference, overlap.predicted)
    assert (swapped.dice(), swapped.iou()) == (overlap.dice(), overlap.iou())


@given(overlaps())
def test_both_protocols_agree_where_there_is_something(overlap):
    if not overlap.both_empty:
        assert overlap.dice(paper=True) == pytest.approx(overlap.dice(), abs=1e-5)
        assert overlap.iou(paper=True) == pytest.approx(overlap.iou(), abs=1e-5)


@given(st.lists(overlaps(), min_size=1, max_size=6))
def test_the_order_of_the_images_does_not_matter(images):
    assert summary(images) == pytest.approx(summary(images[::-1]))
