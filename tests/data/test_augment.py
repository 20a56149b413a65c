"""Changed training samples: picture, mask and words go on telling the same story."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from textseg.data.augment import Augment, AugmentSettings, Sample, mirrored, one_side, upended
from textseg.data.augment_published import photometric, row_blurred
from textseg.data.phantoms import draw_radiograph
from textseg.text.finding import ZONES, Finding

SIZE = 128
STILL = AugmentSettings(flip=0.0, rotate=0.0)
BOTH = {"left": ("upper", "lower"), "right": ("middle",)}
seeds = st.integers(0, 2**32 - 1)


def drawn(places: dict[str, tuple[str, ...]], seed: int = 1) -> Sample:
    phantom = draw_radiograph(places, seed, SIZE)
    return Sample(phantom.image.astype(np.float32) / 255, phantom.mask.astype(np.float32), phantom.finding)


def augmented(sample: Sample, settings_: AugmentSettings, seed: int = 0) -> Sample:
    return Augment(settings_, sample.image.shape[0]).set_random_state(seed)(sample)


def masked_sides(sample: Sample) -> set[str]:
    """The patient's sides that hold most of a marked half; the right one lies on the picture's left."""
    middle = sample.mask.shape[1] // 2
    halves = {"right": sample.mask[:, :middle].sum(), "left": sample.mask[:, middle:].sum()}
    return {side for side, pixels in halves.items() if pixels > 0.05 * sample.mask.sum() and pixels > 0}


def named_sides(finding: Finding) -> set[str]:
    return {side for side in ("left", "right") if getattr(finding, side)}


def parts(mask: np.ndarray) -> int:
    connect = sitk.ConnectedComponentImageFilter()
    connect.FullyConnectedOn()
    connect.Execute(sitk.GetImageFromArray(mask.astype(np.uint8)))
    return connect.GetObjectCount()


def same(first: Sample, second: Sample) -> bool:
    arrays = np.array_equal(first.image, second.image) and np.array_equal(first.mask, second.mask)
    return arrays and (first.finding, first.bilateral) == (second.finding, second.bilateral)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_flip_moves_mask_and_words_to_the_other_side(side):
    before = drawn({side: ("lower",)})
    after = mirrored(before)
    other = {"left": "right", "right": "left"}[side]
    assert masked_sides(before) == named_sides(before.finding) == {side}
    assert masked_sides(after) == named_sides(after.finding) == {other}
    assert np.array_equal(after.image, before.image[:, ::-1])
    assert same(mirrored(after), before)


@pytest.mark.parametrize(("zone", "turned"), [("upper", "lower"), ("lower", "upper"), ("middle", "middle")])
def test_turned_upside_down_upper_and_lower_change_places(zone, turned):
    before = drawn({"left": (zone,)})
    after = upended(before)
    rows = [np.nonzero(sample.mask)[0].mean() for sample in (before, after)]
    assert sum(rows) == pytest.approx(SIZE - 1)
    assert after.finding == replace(before.finding, left=(turned,))
    assert same(upended(after), before)


@pytest.mark.parametrize("turn", [mirrored, upended])
def test_a_sample_without_words_is_turned_too(turn):
    after = turn(replace(drawn(BOTH), finding=None))
    assert after.finding is None and after.mask.any()


@given(st.sampled_from(("left", "right")), seeds)
@settings(max_examples=25)
def test_after_any_consistent_change_the_named_side_is_the_marked_side(side, seed):
    after = augmented(drawn({side: ("middle",)}), AugmentSettings(rotate=10.0, scale=0.15, shift=0.03), seed)
    assert masked_sides(after) == named_sides(after.finding)


def test_flips_happen_as_often_as_asked():
    sample, augment = drawn({"left": ("lower",)}), Augment(replace(STILL, flip=0.5), 224).set_random_state(0)
    flipped = np.mean([named_sides(augment(sample).finding) == {"right"} for _ in range(60)])
    assert 0.25 < flipped < 0.75
    assert named_sides(augmented(sample, replace(STILL, flip=1.0)).finding) == {"right"}


@pytest.mark.parametrize("side", ["left", "right"])
def test_asked_for_one_side_mask_and_words_are_cut_to_it(side):
    before = drawn(BOTH)
    after = one_side(before, side)
    assert masked_sides(after) == named_sides(after.finding) == {side}
    half = slice(SIZE // 2, None) if side == "left" else slice(SIZE // 2)
    assert np.array_equal(after.mask[:, half], before.mask[:, half])
    assert getattr(after.finding, side) == getattr(before.finding, side)
    assert after.finding.count is None
    assert masked_sides(before) == {"left", "right"}


@pytest.mark.parametrize("side", ["left", "right"])
def test_asked_for_one_side_the_parts_of_that_side_are_counted(side):
    after = one_side(drawn(BOTH), side, counted=True)
    assert after.finding.count == parts(after.mask) == len(BOTH[side])


def test_partial_samples_are_cut_only_where_two_sides_are_named():
    asked = replace(STILL, partial=1.0)
    results = [augmented(drawn(BOTH), asked, seed) for seed in range(12)]
    assert all(masked_sides(after) == named_sides(after.finding) for after in results)
    assert {side for after in results for side in named_sides(after.finding)} == {"left", "right"}
    assert {after.finding.count is None for after in results} == {True, False}
    single = drawn({"left": ("lower",)})
    assert same(augmented(single, asked), single)


def test_words_can_be_dropped_and_the_mask_stays():
    before = replace(drawn(BOTH), bilateral=True)
    after = augmented(before, replace(STILL, no_text=1.0))
    assert (after.finding, after.bilateral) == (None, None)
    assert np.array_equal(after.mask, before.mask)


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_healthy_lung_asked_for_has_nothing_to_mark(side):
    before = drawn({side: ("lower",)})
    after = augmented(before, replace(STILL, healthy=1.0))
    assert named_sides(after.finding) == {"left", "right"} - {side} and not after.mask.any()
    assert np.array_equal(after.image, before.image) and before.mask.any()


@pytest.mark.parametrize(
    "changes", [{"finding": None}, {"finding": Finding()}, {}, {"finding": Finding(left=("upper",))}], ids=str
)
def test_a_lung_that_is_named_or_marked_is_not_taken_for_healthy(changes):
    before = replace(drawn(BOTH), **changes)
    assert np.array_equal(augmented(before, replace(STILL, healthy=1.0)).mask, before.mask)


def test_a_sentence_that_says_bilateral_leaves_no_lung_healthy():
    before = replace(drawn({"left": ("lower",)}), bilateral=True)
    assert np.array_equal(augmented(before, replace(STILL, healthy=1.0)).mask, before.mask)


def test_coarse_words_leave_out_zones_or_count_and_never_the_side():
    before = drawn({"left": ("lower",)})
    findings = {augmented(before, replace(STILL, coarse=1.0), seed).finding for seed in range(24)}
    assert findings == {Finding(left=ZONES, count=1), Finding(left=("lower",)), Finding(left=ZONES)}


@pytest.mark.parametrize("kind", ["consistent", "published"])
def test_the_same_seed_gives_the_same_sample(kind):
    asked = AugmentSettings(kind, scale=0.1, shift=0.05, contrast=1.0, noise=1.0, partial=0.5, coarse=0.5)
    results = [augmented(drawn(BOTH), asked, seed) for seed in (*range(8), *range(8))]
    assert all(same(first, again) for first, again in zip(results[:8], results[8:], strict=True))
    assert not all(same(results[0], other) for other in results[1:8])


def test_brightness_changes_only_the_picture_and_stays_in_range():
    before = drawn(BOTH)
    after = augmented(before, replace(STILL, contrast=1.0, noise=1.0))
    assert not np.allclose(after.image, before.image, atol=0.01)
    assert after.image.min() >= 0 and after.image.max() <= 1
    assert np.array_equal(after.mask, before.mask)


@given(seeds)
@settings(max_examples=15)
def test_the_mask_moves_with_the_picture(seed):
    mask = drawn(BOTH).mask
    after = augmented(Sample(mask, mask, None), AugmentSettings(scale=0.2, shift=0.1), seed)
    assert set(np.unique(after.mask)) <= {0, 1}
    assert np.mean((after.image > 0.5) != (after.mask > 0)) < 0.01


@given(seeds)
@settings(max_examples=25)
def test_published_changes_keep_the_sentence_and_move_the_mask_with_the_picture(seed):
    before = replace(drawn(BOTH), bilateral=True)
    after = augmented(replace(before, image=before.mask), AugmentSettings("published"), seed)
    assert (after.finding, after.bilateral) == (before.finding, True)
    assert np.array_equal(after.image, after.mask) and after.mask.any()


def test_published_changes_leave_a_quarter_of_the_samples_as_they_are():
    sample, augment = drawn(BOTH), Augment(AugmentSettings("published"), 224).set_random_state(0)
    untouched = np.mean([same(augment(sample), sample) for _ in range(200)])
    assert 0.15 < untouched < 0.37


def test_published_flips_make_words_and_mask_disagree():
    sample, augment = drawn({"left": ("lower",)}), Augment(AugmentSettings("published"), 224).set_random_state(0)
    results = [augment(sample) for _ in range(60)]
    assert 0 < sum(masked_sides(after) == {"right"} for after in results) < 60
    assert {tuple(named_sides(after.finding)) for after in results} == {("left",)}


def test_published_blur_changes_some_rows_and_published_brightness_all_of_them():
    before = replace(drawn(BOTH), bilateral=True)
    random = np.random.RandomState(3)
    changed = np.any(row_blurred(before.image, random) != before.image, axis=1).mean()
    assert 0.3 < changed < 0.7
    levels = [photometric(before.image, np.random.RandomState(seed)) for seed in range(12)]
    assert all(image.min() >= 0 and image.max() <= 1 for image in levels)
    shifts = [float((image - before.image).mean()) for image in levels]
    assert min(shifts) < -0.01 and max(shifts) > 0.01 and 0.0 in shifts


def test_published_changes_of_reclmis_keep_the_mask_with_the_picture_and_the_sentence():
    asked = AugmentSettings("published", row_blur=1.0, photometric=True)
    before = drawn(BOTH)
    for seed in range(8):
        after, plain = augmented(before, asked, seed), augmented(before, AugmentSettings("published"), seed)
        assert after.finding == before.finding and after.mask.sum() == pytest.approx(before.mask.sum(), rel=0.2)
        assert after.image.dtype == np.float32 and plain.mask.shape == after.mask.shape


def test_blur_of_our_own_changes_the_picture_alone():
    before = drawn(BOTH)
    after = augmented(before, replace(STILL, blur=1.0))
    assert np.array_equal(after.mask, before.mask) and not np.allclose(after.image, before.image, atol=0.01)
