"""Sentences and names made from findings: what people read agrees with what was meant."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textseg.text.finding import CERTAINTIES, ZONES, Finding
from textseg.text.prompt import read_prompt
from textseg.text.sentence import canonical, short_name, words_name

zones = st.lists(st.sampled_from(ZONES), unique=True).map(tuple)
counts = st.none() | st.integers(1, 9)
placed = st.builds(Finding, left=zones, right=zones, count=counts).filter(lambda f: f.left or f.right)
findings = st.builds(
    Finding,
    left=zones,
    right=zones,
    count=st.none() | st.integers(1, 10**6),
    absent=st.booleans(),
    certainty=st.sampled_from(CERTAINTIES),
    unread=st.lists(st.text(), max_size=2).map(tuple),
)


@given(placed)
def test_the_sentence_read_back_gives_the_same_places(finding):
    reading = read_prompt(canonical(finding))
    assert (reading.finding.left, reading.finding.right) == (finding.left, finding.right)
    assert (reading.finding.unread, reading.warnings) == ((), ())
    assert reading.bilateral is finding.two_sided


@given(placed)
def test_the_sentence_read_back_gives_the_same_count(finding):
    """A count that was not given is written as the number of lungs, which is also what the network reads."""
    sides = bool(finding.left) + bool(finding.right)
    assert read_prompt(canonical(finding)).finding.count == (finding.count or sides)


@given(placed)
def test_the_network_reads_the_same_from_finding_and_sentence(finding):
    written = Finding(left=finding.left, right=finding.right, count=finding.count or 1 + finding.two_sided)
    assert read_prompt(canonical(finding)).finding == written
    assert canonical(written) == canonical(finding)


@given(placed)
def test_a_sentence_of_picture_sides_is_read_back_mirrored(finding):
    assert read_prompt(canonical(finding.mirrored()), "picture").finding.left == finding.left


@pytest.mark.parametrize(
    ("finding", "sentence"),
    [
        (
            Finding(left=("lower",), count=1),
            "Unilateral pulmonary infection, one infected area, lower left lung.",
        ),
        (
            Finding(left=("upper", "middle"), right=ZONES, count=3),
            "Bilateral pulmonary infection, three infected areas, upper middle left lung and all right lung.",
        ),
        (
            Finding(right=("middle",), count=12),
            "Unilateral pulmonary infection, 12 infected areas, middle right lung.",
        ),
        (Finding(absent=True), "No pulmonary infection."),
        (Finding(), "Pulmonary infection."),
        (None, ""),
    ],
)
def test_sentences_use_the_public_wording(finding, sentence):
    assert canonical(finding) == sentence


@pytest.mark.parametrize("finding", [Finding(absent=True), Finding()])
def test_sentences_without_a_place_are_read_back(finding):
    assert read_prompt(canonical(finding)).finding == finding


@given(findings)
def test_a_segments_name_is_plain_ascii_on_one_line(finding):
    name = short_name(finding)
    assert name.isascii() and name.isprintable()
    assert 0 < len(name) < 80


@given(st.text(max_size=200), st.sampled_from(("patient", "picture")))
def test_a_segments_name_of_any_words_is_plain_ascii_on_one_line(words, laterality):
    name = words_name(words, laterality)
    assert name.isascii() and name.isprintable() and len(name) <= 64


@pytest.mark.parametrize(
    "words",
    [("ポリープ", "潰瘍"), ("a pale polyp at the far end of a fold", "a pale polyp at the far end of a fistula")],
)
def test_a_segments_name_of_words_that_it_cannot_show_stands_for_one_prompt(words):
    assert len({words_name(one, "patient") for one in words}) == 2


def test_a_segments_name_says_the_patients_sides():
    name = short_name(Finding(left=("lower",), right=("upper", "middle"), count=2))
    assert "L lower" in name and "R upper/middle" in name
    assert "patient" in name and "2 areas" in name


@given(placed)
def test_a_segments_name_names_each_side_that_is_meant_and_no_other(finding):
    words = short_name(finding).replace(",", " ").split()
    assert (bool(finding.left), bool(finding.right)) == ("L" in words, "R" in words)


@pytest.mark.parametrize(
    ("finding", "word"), [(None, "anywhere"), (Finding(), "anywhere"), (Finding(absent=True), "no infection")]
)
def test_a_segments_name_without_a_place(finding, word):
    assert word in short_name(finding)
