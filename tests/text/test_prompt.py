"""Reading prompts: the public sentences exactly, other wording safely, and nothing dropped in silence."""

import csv

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from textseg.errors import OptionError, PromptError
from textseg.text.finding import ZONES, Finding
from textseg.text.hints import EXAMPLE
from textseg.text.prompt import LATERALITIES, MAX_LENGTH, Reading, read_prompt
from textseg.text.vocabulary import NUMBERS, VOCABULARY

NUMBER_COLUMNS = ("bilateral", "number", *(f"{side}_{zone}" for side in ("left", "right") for zone in ZONES))
pieces = st.sampled_from((*VOCABULARY, "Left", "lowr", "middel", "12", "0", "\u00b2", ",", ".", "-", "\n"))
worded = st.lists(pieces, max_size=12).map(" ".join)


def test_the_public_sentences_give_the_public_numbers(shared):
    with (shared / "data" / "text" / "parser_cases.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 262
    expected = [tuple(float(row[column]) for column in NUMBER_COLUMNS) for row in rows]
    found = [read_prompt(row["sentence"], "picture").eight_numbers() for row in rows]
    wrong = [row["sentence"] for row, want, have in zip(rows, expected, found, strict=True) if want != have]
    assert wrong == []


@pytest.mark.parametrize(
    ("sentence", "numbers"),
    [
        (
            "Bilateral pulmonary infection, two infected areas, upper middle left lung and middle lower right lung",
            (1, 2, 1, 1, 0, 0, 1, 1),
        ),
        ("UNILATERAL pulmonary infection,one infected areas,  midlle lowerl left lung..", (0, 1, 0, 1, 1, 0, 0, 0)),
        ("Bilateral pulmonary infection, one infected areas, middle left lung.", (1, 1, 0, 1, 0, 0, 0, 0)),
        (
            "Unilateral pulmonary infection, two infected areas, left lung and middle right lung.",
            (0, 2, 0, 0, 0, 0, 1, 0),
        ),
        ("Bilateral pulmonary infection.", (1, 2, 1, 1, 1, 1, 1, 1)),
        ("12 infected areas, all right lung", (0, 12, 0, 0, 0, 1, 1, 1)),
    ],
)
def test_variants_of_the_public_wording(sentence, numbers):
    assert read_prompt(sentence, "picture").eight_numbers() == numbers


def test_the_patients_left_is_the_pictures_right():
    sentence = "Unilateral pulmonary infection, one infected area, lower left lung."
    assert read_prompt(sentence).finding == Finding(left=("lower",), count=1)
    assert read_prompt(sentence, "patient") == read_prompt(sentence)
    assert read_prompt(sentence, "picture").finding == Finding(right=("lower",), count=1)


@given(worded)
def test_both_lateralities_read_mirror_images(text):
    try:
        patient = read_prompt(text)
    except PromptError:
        with pytest.raises(PromptError):
            read_prompt(text, "picture")
    else:
        assert read_prompt(text, "picture").finding == patient.finding.mirrored()


def test_another_laterality_is_refused_with_the_choices():
    with pytest.raises(OptionError, match=r"patient, picture, not .viewer"):
        read_prompt("lower left lung", "viewer")


@pytest.mark.parametrize("text", ["", "   \n", "hello world", "42", "nil", ".,;", "lung", "\u80ba\u708e", "and of the"])
def test_what_says_nothing_is_refused_with_an_example_and_the_words(text):
    with pytest.raises(PromptError) as refused:
        read_prompt(text)
    assert EXAMPLE in str(refused.value)
    assert f'"{text}"' in str(refused.value)


def test_the_example_of_the_messages_is_itself_understood():
    assert read_prompt(EXAMPLE) == Reading(Finding(left=("lower",), right=("upper",), count=2), True)


@pytest.mark.parametrize("text", ["left lung\x00", "left\x1b[31m lung", "left lung \x7f", "left lung \ud800"])
def test_control_characters_are_refused(text):
    with pytest.raises(PromptError, match="control characters"):
        read_prompt(text)


@pytest.mark.parametrize("text", [None, 7, ["left lung"], {"prompt": "left lung"}, b"left lung"])
def test_what_is_no_text_is_refused_by_its_kind(text):
    with pytest.raises(PromptError, match=type(text).__name__):
        read_prompt(text)


def test_the_longest_prompt_is_read_and_a_longer_one_refused():
    text = "lower left lung".ljust(MAX_LENGTH)
    assert read_prompt(text).finding == Finding(left=("lower",))
    with pytest.raises(PromptError, match=str(MAX_LENGTH + 1)):
        read_prompt(text + " ")


def test_a_long_refused_prompt_is_cut_in_the_message():
    with pytest.raises(PromptError) as refused:
        read_prompt("nonsense " * 200)
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("No infection in the left lung", "left"),
        ("The right lung is clear", "right"),
        ("Normal left lung", "left"),
        ("There isn't infection in the left lung", "left"),
        ("withuot infection in the left lung", "left"),
        ("infection never seen in the left lung", "left"),
    ],
)
def test_the_denial_of_one_lung_never_marks_it(text, denied):
    other = "right" if denied == "left" else "left"
    finding = read_prompt(text).finding
    assert finding == Finding(**{f"absent_{denied}": True})
    assert getattr(finding.located(), other) == ZONES and not getattr(finding.located(), denied)


def test_the_denial_of_a_part_alone_is_refused_with_the_words():
    text = "lower left lung without infection"
    with pytest.raises(PromptError, match="denies something in a part of a lung") as refused:
        read_prompt(text)
    assert text in str(refused.value)


@pytest.mark.parametrize("text", ["No pulmonary infection", "no pulmonary infection.", "NO INFECTION"])
def test_no_pulmonary_infection_is_absent(text):
    assert read_prompt(text).finding == Finding(absent=True)


@pytest.mark.parametrize(
    ("text", "left", "right"),
    [
        ("infection on the left", ZONES, ()),
        ("lower left and upper right lung", ("lower",), ("upper",)),
        ("left lower lung", ("lower",), ()),
        ("Upper and lower left lung", ("upper", "lower"), ()),
    ],
)
def test_a_side_needs_no_lung_and_and_joins_zones(text, left, right):
    assert read_prompt(text).finding == Finding(left=left, right=right)


def test_the_word_zone_is_no_denial():
    assert read_prompt("infection in the lower zone of the left lung").finding == Finding(left=("lower",))


def test_words_that_are_not_understood_are_listed_as_typed():
    reading = read_prompt("Wobbly Blurgs opacities in the lower left lung")
    assert reading.finding == Finding(left=("lower",), unread=("Wobbly", "Blurgs"))
    assert any("Wobbly, Blurgs" in warning for warning in reading.warnings)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Pulmonary infection", "anywhere"),
        ("lower zone consolidation", "without a side"),
        ("No consolidation. Patchy opacity in the right lower zone", "also denies"),
        ("consolidation of the left lung, thoraks", "Not understood and not used: thoraks. Did you mean thorax"),
        ("Bilateral pulmonary infection, lower left lung", "says bilateral but names one lung"),
        ("Unilateral pulmonary infection, lower left lung and lower right lung", "says unilateral but names both"),
    ],
)
def test_a_doubtful_prompt_is_read_with_a_warning(text, hint):
    assert any(hint in warning for warning in read_prompt(text).warnings)


def test_a_clear_prompt_has_no_warning():
    assert read_prompt("Unilateral pulmonary infection, one infected area, lower left lung.").warnings == ()


@pytest.mark.parametrize(("word", "number"), [*NUMBERS.items(), ("1", 1), ("37", 37)])
def test_counts_in_words_and_digits(word, number):
    assert read_prompt(f"{word} infected areas, lower left lung").finding.count == number


def test_a_superscript_is_no_count():
    finding = read_prompt("\u00b2 infected areas, lower left lung").finding
    assert (finding.count, finding.unread) == (None, ("\u00b2",))


@given(st.text() | st.text(st.characters()) | worded, st.sampled_from(LATERALITIES))
@example("\u00b2 infected areas, left lung", "patient")
@example("9" * 1999 + " infected", "patient")
def test_any_text_is_read_or_refused(text, laterality):
    try:
        numbers = read_prompt(text, laterality).eight_numbers()
    except PromptError as refused:
        assert str(refused)
    else:
        assert len(numbers) == 8 and (numbers[1] >= 1 or not any(numbers))


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Z")), max_size=40))
def test_strange_words_beside_a_place_are_never_dropped(noise):
    text = f"{noise} | lower left lung"
    try:
        finding = read_prompt(text).finding
    except PromptError:
        return
    assert "lower" in finding.left
    assert all(word in text for word in finding.unread)


@pytest.mark.parametrize("prompt", ["Infection in a bright lung", "Infection, tight lung", "a lift of infection"])
def test_no_lung_is_read_from_a_word_that_only_looks_like_it(prompt):
    assert read_prompt(prompt).finding.anywhere


def test_a_misspelt_side_is_still_read():
    assert read_prompt("infection, lower rihgt lung").finding == read_prompt("infection, lower right lung").finding
