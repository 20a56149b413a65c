"""Findings: values that can be stored, compared and turned round without losing anything."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textseg.errors import DataError
from textseg.text.eight_numbers import NO_TEXT, eight_numbers
from textseg.text.finding import CERTAINTIES, SCHEMA, ZONES, Finding

SIDES = ("left", "right")
zones = st.lists(st.sampled_from(ZONES), unique=True).map(tuple)
findings = st.builds(
    Finding,
    left=zones,
    right=zones,
    count=st.none() | st.integers(1, 10**6),
    absent=st.booleans(),
    absent_left=st.booleans(),
    absent_right=st.booleans(),
    certainty=st.sampled_from(CERTAINTIES),
    unread=st.lists(st.text(), max_size=3).map(tuple),
)


@given(findings)
def test_a_finding_survives_storing(finding):
    assert Finding.from_json(json.loads(json.dumps(finding.to_json()))) == finding


@given(findings)
def test_turned_twice_a_finding_is_itself(finding):
    assert finding.mirrored().mirrored() == finding
    assert finding.upended().upended() == finding


@given(findings)
def test_mirroring_changes_sides_and_nothing_else(finding):
    turned = finding.mirrored()
    assert (turned.left, turned.right) == (finding.right, finding.left)
    assert (turned.absent_left, turned.absent_right) == (finding.absent_right, finding.absent_left)
    kept = ("count", "absent", "certainty", "unread")
    assert all(getattr(turned, name) == getattr(finding, name) for name in kept)


def test_a_finding_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Finding(left=("lower",)).left = ("upper",)


def test_equal_findings_are_equal_however_they_were_written():
    assert Finding(left=["lower", "upper", "lower"]) == Finding(left=("upper", "lower"))
    assert len({Finding(right=["middle"]), Finding(right=("middle",))}) == 1
    assert Finding(left=("lower",)) != Finding(right=("lower",))


def test_upended_exchanges_upper_and_lower():
    assert Finding(left=("upper", "middle"), right=("lower",)).upended() == Finding(
        left=("middle", "lower"), right=("upper",)
    )


@pytest.mark.parametrize("side", SIDES)
def test_only_keeps_one_lung(side):
    both = Finding(left=("upper",), right=("lower",), count=3, absent_left=True, absent_right=True)
    one, other = both.only(side), "left" if side == "right" else "right"
    assert (getattr(one, side), getattr(one, other)) == (getattr(both, side), ())
    assert (getattr(one, f"absent_{side}"), getattr(one, f"absent_{other}")) == (True, False)
    assert one.count is None
    assert both.only(side, count=2).count == 2


def test_without_zones_names_whole_lungs():
    assert Finding(left=("upper",), count=2).without_zones() == Finding(left=ZONES, count=2)


@given(findings)
def test_anywhere_means_no_place_and_no_denial(finding):
    says = finding.left or finding.right or finding.absent or finding.absent_left or finding.absent_right
    assert finding.anywhere is not bool(says)


@pytest.mark.parametrize("finding", [None, Finding(), Finding(count=4)])
def test_without_a_place_the_network_reads_eight_ones(finding):
    assert eight_numbers(finding) == NO_TEXT == (1.0,) * 8


def test_the_network_reads_picture_sides_of_patient_sides():
    finding = Finding(left=("lower",), right=("upper", "middle"), count=2)
    assert eight_numbers(finding) == (1, 2, 1, 1, 0, 0, 0, 1)  # the patient's right lung is on the picture's left


def test_without_a_count_the_network_reads_the_number_of_sides():
    assert eight_numbers(Finding(left=("lower",)))[:2] == (0, 1)
    assert eight_numbers(Finding(left=("lower",), right=("lower",)))[:2] == (1, 2)


def test_a_newer_schema_is_refused_with_what_to_do():
    stored = Finding(left=("lower",)).to_json() | {"schema": SCHEMA + 1}
    with pytest.raises(DataError, match=f"schema {SCHEMA + 1}.*Update textseg"):
        Finding.from_json(stored)


@pytest.mark.parametrize("stored", [[], "text", None, {}, {"left": []}, {"schema": "1"}])
def test_something_else_than_a_stored_finding_is_refused(stored):
    with pytest.raises(DataError, match="JSON object with a `schema`"):
        Finding.from_json(stored)


def test_an_unknown_key_is_refused_by_name():
    with pytest.raises(DataError, match="colour"):
        Finding.from_json(Finding().to_json() | {"colour": "red"})


@pytest.mark.parametrize(
    "wrong",
    [{"left": ("apical",)}, {"count": 0}, {"count": -2}, {"count": True}, {"count": 1.5}, {"certainty": "sure"}],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(DataError, match=str(next(iter(wrong)).removeprefix("left") or "zones")):
        Finding(**wrong)


def test_one_lung_denied_and_no_place_named_means_the_other_lung():
    assert Finding(absent_left=True).located().right == ZONES
    assert Finding(absent_left=True, right=("lower",)).located().right == ("lower",)
    assert Finding().located() == Finding()


@pytest.mark.parametrize("change", [{"left": None}, {"unread": 5}, {"count": "two"}, {"certainty": "sure"}])
def test_a_stored_value_of_the_wrong_kind_is_refused(change):
    with pytest.raises(DataError):
        Finding.from_json({**Finding().to_json(), **change})


def test_both_lungs_denied_is_nothing_at_all():
    both = Finding(absent_left=True, absent_right=True)
    assert both.nothing and Finding(absent=True).nothing
    assert not Finding(absent_left=True).nothing
    assert eight_numbers(both) == (0.0,) * 8
