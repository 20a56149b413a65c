"""The gate: what may take the served version's place, and the sentence that says why or why not."""

import pytest

from textseg.learning.gate import ENOUGH, Judgement, Standing, goes_too_far, judge
from textseg.learning.measured import Measured

REFERENCE = Measured(
    dice=(0.9, 0.85, 0.8, 0.9, 0.95, 0.9, 0.85, 0.9, 0.95, 0.9),
    right=(0.9, 0.8),
    mirrored=(0.1, 0.0),
    shares=(0.98,) * 4,
    denied=(False,) * 10,
)


def held(count: int = 24, dice: float = 0.7, gain: float = 0.0, spread: float = 0.02) -> Measured:
    """A hold-out whose pictures gain `gain` on average, more or less by `spread` in turn."""
    return Measured(dice=tuple(dice + gain + (spread if number % 2 else -spread) for number in range(count)))


def plain(count: int = 24) -> Measured:
    """The hold-out as the served version scores it."""
    return Measured(dice=(0.7,) * count)


def judged(holdout: Measured, reference: Measured = REFERENCE, served: Measured | None = None) -> Judgement:
    """A candidate with these scores beside a served version with plain ones."""
    before = served if served is not None else plain(len(holdout.dice))
    return judge(Standing(before, REFERENCE), Standing(holdout, reference))


def changed(**values: object) -> Measured:
    """The reference set with other scores."""
    return Measured(**{**vars(REFERENCE), **values})


def test_a_gain_on_the_hold_out_is_published_and_told():
    verdict = judged(held(gain=0.013))
    assert verdict.passed
    assert verdict.sentence("v0007").startswith("published v0007: +0.013 Dice on 24 held-out pictures (+0.0")


def test_a_loss_on_the_hold_out_is_kept_back_and_told():
    verdict = judged(held(gain=-0.01))
    assert not verdict.passed
    assert verdict.sentence("v0006").startswith("kept v0006: -0.010 Dice on 24 held-out pictures (-0.0")


def test_a_gain_that_may_as_well_be_a_loss_is_kept_back():
    verdict = judged(held(count=ENOUGH, gain=0.005, spread=0.2))
    assert not verdict.passed and "too little to be sure" in verdict.sentence("v0001")


def test_the_same_scores_pass():
    assert judged(plain()).passed


@pytest.mark.parametrize(("fall", "passes"), [(0.009, True), (0.011, False)])
def test_the_reference_set_may_fall_by_a_hundredth(fall, passes):
    lower = changed(dice=tuple(dice - fall for dice in REFERENCE.dice))
    verdict = judged(held(gain=0.02), lower)
    assert verdict.passed is passes
    assert ("reference set" in verdict.sentence("v0001")) is not passes


@pytest.mark.parametrize("count", [0, 1, ENOUGH - 1])
def test_with_few_held_out_pictures_the_reference_set_must_not_fall_at_all(count):
    fallen = judged(held(count, gain=0.2), changed(dice=(*REFERENCE.dice[:-1], 0.899)))
    assert not fallen.passed and f"weak evidence ({count} held-out pictures)" in fallen.sentence("v0001")
    risen = judged(held(count, gain=0.2), changed(dice=(*REFERENCE.dice[:-1], 0.91)))
    assert risen.passed and f"weak evidence ({count} held-out pictures)" in risen.sentence("v0001")


@pytest.mark.parametrize(
    ("count", "fall", "share", "too_far"),
    [
        (3, -0.01, 1, True),
        (3, 0.002, 1, True),
        (3, 0.02, 1, True),
        (3, 0.04, 1, False),
        (3, -0.01, 0.5, False),
        (3, 0.002, 0.5, True),
        (ENOUGH, 0.002, 1, True),
        (ENOUGH, 0.04, 1, False),
        (ENOUGH, 0.002, 0.5, False),
        (ENOUGH, 0.02, 0.5, True),
    ],
)
def test_a_candidate_goes_only_a_part_of_its_way_but_where_its_labels_are_bad(count, fall, share, too_far):
    known = changed(dice=tuple(dice - fall for dice in REFERENCE.dice))
    assert goes_too_far(Standing(plain(count), REFERENCE), known, share) is too_far


def test_a_fall_is_told_with_digits_that_show_it():
    fallen = judged(held(1), changed(dice=(*REFERENCE.dice[:-1], REFERENCE.dice[-1] - 0.0001)))
    before, after = fallen.sentence("v0001").split("reference set, ")[1].split(",")[0].split(" -> ")
    assert float(after) < float(before)


def test_prompts_that_no_longer_matter_are_told_with_their_figures():
    verdict = judged(held(gain=0.05), changed(mirrored=(0.8, 0.75)))
    assert not verdict.passed
    assert "prompts no longer matter, sensitivity 0.80 -> 0.08" in verdict.sentence("v0006")


def test_what_is_drawn_on_the_side_that_was_not_asked_is_told():
    verdict = judged(held(gain=0.05), changed(shares=(0.6,) * 4))
    assert not verdict.passed and "share on the asked side 0.98 -> 0.60" in verdict.sentence("v0006")


@pytest.mark.parametrize(("mirrored", "passes"), [(0.19, True), (0.23, False)])
def test_four_fifths_of_the_sensitivity_must_be_kept(mirrored, passes):
    assert judged(held(gain=0.05), changed(mirrored=(mirrored, mirrored))).passed is passes


def test_the_words_of_the_hold_out_count_too():
    served = Measured(dice=(0.7,) * 24, right=(0.9,) * 10, mirrored=(0.1,) * 10)
    candidate = Measured(dice=(0.75,) * 24, right=(0.9,) * 10, mirrored=(0.6,) * 10)
    assert not judged(candidate, served=served).passed


def test_a_denial_that_is_answered_by_a_mask_is_kept_back():
    verdict = judged(held(gain=0.05), changed(denied=(True, *(False,) * 9)))
    assert not verdict.passed and "drawn on 1 pictures whose prompt denies" in verdict.sentence("v0001")


def test_a_denial_that_breaks_is_not_made_up_for_by_one_that_heals():
    first, second = (True, *(False,) * 9), (False, True, *(False,) * 8)
    served, candidate = Standing(plain(), changed(denied=first)), Standing(held(gain=0.05), changed(denied=second))
    assert "denies" in judge(served, candidate).sentence("v0001")
    assert judge(served, Standing(held(gain=0.05), changed(denied=first))).passed


def test_drawn_pictures_do_not_hide_that_real_ones_no_longer_obey():
    obedient = changed(right=(0.9,) * 24, mirrored=(0.0,) * 24)
    served = Standing(Measured(dice=(0.7,) * 12, right=(0.7,) * 10, mirrored=(0.2,) * 10), obedient)
    candidate = Standing(Measured(dice=(0.72,) * 12, right=(0.72,) * 10, mirrored=(0.7,) * 10), obedient)
    sentence = judge(served, candidate).sentence("v0001")
    assert "prompts no longer matter on the held-out pictures, sensitivity 0.50 -> 0.02" in sentence


def test_a_model_whose_words_never_mattered_may_go_on_learning():
    nothing = changed(right=(0.5, 0.5), mirrored=(0.6, 0.6))
    assert judge(Standing(plain(), nothing), Standing(held(gain=0.05), nothing)).passed


def test_segments_of_one_picture_count_as_one_picture():
    names = tuple(f"p{number // 4}" for number in range(8))
    served = Measured(dice=(0.7,) * 8, names=names)
    candidate = Measured(dice=(0.9, 0.5, 0.9, 0.5, 0.9, 0.5, 0.9, 0.5), names=names)
    verdict = judged(candidate, served=served)
    assert verdict.passed and "weak evidence (2 held-out pictures)" in verdict.sentence("v0001")
    assert verdict.figures["margin"]["low"] == verdict.figures["margin"]["high"] == pytest.approx(0)


@pytest.mark.parametrize("where", ["hold-out", "reference set"])
def test_a_few_pictures_that_become_far_worse_are_kept_back(where):
    even, uneven = Measured(dice=(0.7,) * 40), Measured(dice=(*(0.55,) * 4, *(0.8,) * 36))
    candidate = Standing(uneven, even) if where == "hold-out" else Standing(even, uneven)
    assert f"worst tenth of the {where} worse, 0.700 -> 0.550" in judge(Standing(even, even), candidate).sentence(
        "v0001"
    )


def test_every_fault_is_told():
    verdict = judged(held(gain=-0.05), changed(dice=tuple(dice - 0.3 for dice in REFERENCE.dice), denied=(True,) * 10))
    sentence = verdict.sentence("v0006")
    assert all(word in sentence for word in ("denies", "reference set", "held-out", "worst tenth"))


def test_the_interval_is_the_same_at_every_judgement():
    assert judged(held(gain=0.01)).figures == judged(held(gain=0.01)).figures
