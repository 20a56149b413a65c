"""Prompt and label joined: every rule that says which prompt a submitted segment answers, and which rule goes first."""

from dataclasses import replace

import numpy as np
import pytest

from textseg.data.joined import Joined, Known, join, names_of, told
from textseg.data.prompts_table import PromptRow
from textseg.data.store.history import CSV, PRESET, REMEMBERED, TYPED, History, PromptEntry
from textseg.data.store.history import NONE as BLANK
from textseg.data.store.labels import LabelledSegment
from textseg.errors import DataError
from textseg.text.prompt import read_prompt
from textseg.text.sentence import canonical, short_name

LEFT, RIGHT, BOTH = "infection in the left lower lung", "infection in the right upper lung", "bilateral infection"
ROW = PromptRow("infection in the left middle lung")


def run(prompt: str, source: str = TYPED, laterality: str = "patient", **more: str) -> PromptEntry:
    """A run of the model as the history keeps it, its mask named as the server names it."""
    finding = read_prompt(prompt, laterality).finding if prompt else None
    name = short_name(finding)
    told = {"segment": name, "model": "c2fvl", "version": "1", "viewer_laterality": laterality, **more}
    json = finding.to_json() if finding else None
    return PromptEntry("2025-01-02", prompt, source, laterality, finding=json, canonical=canonical(finding), **told)


def known(*entries: PromptEntry, row: PromptRow | None = None, **made: np.ndarray) -> Known:
    """What is known of a picture. made: r0, r1, ... -> the mask of that run."""
    masks = {entries[int(key[1:])].segment: mask for key, mask in made.items()}
    return Known(History(entries), row, masks.get)


def segment(name: object, known: Known) -> LabelledSegment:
    """What a label with one segment of this name answers."""
    (found,) = join(drawn(1), [{"name": name, "idx": 1}], known).segments
    return found


def drawn(*values: int) -> np.ndarray:
    """A label of one row: every value fills three voxels."""
    return np.repeat(np.array([0, *values, 0], np.uint8), 3).reshape(1, 1, -1)


def info(**names: int) -> list[dict[str, object]]:
    """What Slicer sends: names and values of the segments."""
    return [{"name": name, "idx": value} for name, value in names.items()]


# A name that the server made


def test_a_server_made_name_answers_the_run_that_made_it() -> None:
    left, right = run(LEFT), run(RIGHT)
    found = segment(left.segment, known(left, right, row=ROW))
    assert (found.source, found.prompt, found.laterality) == ("run", LEFT, "patient")
    assert (found.finding, found.canonical) == (left.finding, left.canonical)
    assert (found.model, found.version, found.values, found.names) == ("c2fvl", "1", (1,), (left.segment,))


def test_of_two_runs_with_one_name_the_last_counts() -> None:
    first, second = run(LEFT), run("left lower lung infection")
    assert first.segment == second.segment
    assert segment(first.segment, known(first, second)).prompt == second.prompt


@pytest.mark.parametrize("source", [TYPED, PRESET, REMEMBERED, CSV])
def test_a_server_made_name_counts_wherever_its_prompt_came_from(source: str) -> None:
    made = run(LEFT, source, segment=f"[{source}] infection")
    assert segment(made.segment, known(run(RIGHT), made, run(BOTH))).prompt == LEFT


def test_a_run_without_text_has_no_prompt_and_borrows_none() -> None:
    made = run("", BLANK)
    found = segment(made.segment, known(run(LEFT), made, row=ROW))
    assert (found.source, found.prompt, found.model) == ("none", "", "c2fvl")


def test_a_server_made_name_goes_before_all_other_rules() -> None:
    for name in ("infection", "Segment_1", RIGHT):
        made = run(LEFT, segment=name)
        assert segment(name, known(made, run(BOTH), row=ROW)).prompt == LEFT


def test_the_laterality_of_the_run_is_kept() -> None:
    made = run("infection in the left lung", laterality="picture")
    found = segment(made.segment, known(made))
    assert (found.laterality, found.finding["left"], list(found.finding["right"])) == (
        "picture",
        made.finding["left"],
        ["upper", "middle", "lower"],
    )


# The class label, and what viewers call a segment by themselves


@pytest.mark.parametrize("name", ["infection", "Infection", " INFECTION "])
def test_the_class_label_answers_the_last_prompt(name: str) -> None:
    found = segment(name, known(run(LEFT), run(RIGHT), row=ROW))
    assert (found.source, found.prompt, found.model, found.names) == ("last prompt", RIGHT, "c2fvl", (name,))


@pytest.mark.parametrize(
    "name",
    ["Segment_1", "Segment_12", "Segment 1", "segment-3", "SEGMENT", "Label 1", "label_2", "Untitled", "1", "", "  "],
)
def test_a_viewers_own_name_answers_the_last_prompt(name: str) -> None:
    assert segment(name, known(run(LEFT), run(RIGHT), row=ROW)).prompt == RIGHT


@pytest.mark.parametrize("no_name", [None, 0, [], {}])
def test_a_segment_without_a_name_answers_the_last_prompt(no_name: object) -> None:
    assert segment(no_name, known(run(LEFT))).prompt == LEFT


@pytest.mark.parametrize("nothing", [None, [], {}, "infection", 5, [None, "x"]])
def test_a_label_without_names_answers_the_last_prompt(nothing: object) -> None:
    (found,) = join(drawn(1, 2), nothing, known(run(LEFT))).segments
    assert (found.prompt, found.values, found.names) == (LEFT, (1, 2), ("", ""))


@pytest.mark.parametrize("later", [REMEMBERED, CSV, BLANK])
def test_the_last_prompt_is_the_last_that_a_person_chose(later: str) -> None:
    after = run("" if later == BLANK else RIGHT, later)
    assert segment("infection", known(run(LEFT, PRESET), after)).prompt == LEFT


def test_without_a_last_prompt_the_row_of_the_table_counts() -> None:
    for name in ("infection", "Segment_1"):
        found = segment(name, known(run(RIGHT, CSV), row=ROW))
        assert (found.source, found.prompt, found.laterality) == ("csv", ROW.prompt, "patient")
        assert list(found.finding["left"]) == ["middle"]


def test_without_anything_there_is_no_prompt() -> None:
    found = segment("infection", known())
    assert (found.source, found.prompt, found.finding, found.canonical) == ("none", "", None, "")


# A name that a person typed


def test_a_name_that_can_be_read_is_the_prompt() -> None:
    found = segment(f"  {RIGHT} ", known(run(LEFT), row=ROW))
    assert (found.source, found.prompt, found.laterality) == ("segment name", RIGHT, "patient")
    assert found.finding == read_prompt(RIGHT).finding.to_json()
    assert found.canonical == canonical(read_prompt(RIGHT).finding)
    assert (found.model, found.version) == ("", "")


@pytest.mark.parametrize("name", ["infection in the left lung", "infection on the left side of the image"])
def test_a_name_is_read_in_the_sides_of_the_viewer(name: str) -> None:
    found = segment(name, known(run(LEFT), run("", BLANK, viewer_laterality="picture")))
    assert (found.prompt, found.laterality) == (name, "picture")
    assert (list(found.finding["left"]), len(found.finding["right"])) == ([], 3)


def test_the_viewers_sides_count_and_not_those_of_the_prompt() -> None:
    of_table = run("infection in the left lung", CSV, "picture", viewer_laterality="patient")
    found = segment("infection in the left lung", known(of_table))
    assert (found.laterality, len(found.finding["left"])) == ("patient", 3)


def test_another_persons_run_in_between_changes_neither_words_nor_sides() -> None:
    mine = run(LEFT, client="ann", address="10.0.0.1")
    other = run(RIGHT, client="bob", address="10.0.0.2", viewer_laterality="picture")
    between = replace(known(mine, other), client="ann", address="10.0.0.1")
    assert segment("Segment_1", between).prompt == LEFT
    typed = segment("LLL pneumonia", between)
    assert (typed.laterality, typed.finding["left"]) == ("patient", ["lower"])
    (empty,) = join(drawn(), info(infection=1), between).segments
    assert empty.prompt == LEFT


def test_who_asked_nothing_gets_what_another_asked() -> None:
    other = run(RIGHT, client="bob", address="10.0.0.2")
    blank = run("", BLANK, client="ann", address="10.0.0.1")
    asked = replace(known(other, blank), client="ann", address="10.0.0.1")
    assert segment("infection", asked).prompt == RIGHT


def test_without_any_run_a_name_is_read_in_the_patients_sides() -> None:
    found = segment("infection in the left lung", known())
    assert (found.source, found.laterality, len(found.finding["left"])) == ("segment name", "patient", 3)


def test_a_name_with_the_wrong_sides_is_not_read() -> None:
    name = "infection on the left side of the image"
    assert segment(name, known(run(LEFT))).source == "none"
    assert segment(name, known(run(LEFT), row=ROW)).source == "csv"


def test_a_denial_is_a_prompt() -> None:
    assert segment("No pulmonary infection", known(run(LEFT))).finding["absent"]


@pytest.mark.parametrize("name", ["mask", "Region 1", "tumor", "lesión", "x" * 3000, "a\0b", "😀"])
def test_a_name_that_cannot_be_read_answers_the_table_and_never_the_last_prompt(name: str) -> None:
    assert segment(name, known(run(LEFT), row=ROW)).prompt == ROW.prompt
    found = segment(name, known(run(LEFT)))
    assert (found.source, found.prompt, found.names) == ("none", "", (name,))


# The table


def test_the_tables_own_laterality_counts() -> None:
    row = PromptRow("infection in the left lung", "picture")
    found = segment("mask", known(row=row))
    assert (found.laterality, list(found.finding["left"])) == ("picture", [])


@pytest.mark.parametrize("row", [None, PromptRow(""), PromptRow("of no meaning whatever"), PromptRow("tumor")])
def test_a_row_that_says_nothing_is_no_prompt(row: PromptRow | None) -> None:
    for name in ("infection", "mask"):
        assert segment(name, known(row=row)).source == "none"


# Names and values


def test_names_go_by_their_number() -> None:
    sent = [{"name": "b", "idx": 2}, {"name": "a", "idx": 7}, {"name": "c", "idx": 1}]
    assert names_of(sent, [1, 2, 7]) == {1: "c", 2: "b", 7: "a"}


@pytest.mark.parametrize("numbers", [(1, 1), (0, 1), (-1, 2), (None, 2), ("2", "1"), (True, 2), (2.0, 1.0)])
def test_names_go_by_position_where_the_numbers_cannot_be_used(numbers: tuple[object, object]) -> None:
    sent = [{"name": name, "idx": number} for name, number in zip("ab", numbers, strict=True)]
    assert names_of(sent, [1, 2]) == {1: "a", 2: "b"}


def test_names_go_by_position_where_there_are_no_numbers() -> None:
    assert names_of([{"name": "a"}, {"name": "b"}], [2]) == {2: "b"}


def test_names_of_segments_that_the_label_does_not_show_are_not_needed() -> None:
    assert names_of(info(a=1, b=2, c=3), [2]) == {2: "b"}
    assert names_of(info(a=1), []) == {}


def test_names_go_by_position_where_numbers_leave_gaps() -> None:
    assert names_of(info(a=1, b=3), [1, 2]) == {1: "a", 2: "b"}  # Slicer numbers over segments that it leaves out


@pytest.mark.parametrize("sent", [info(a=1), [{"name": "a"}]])
def test_a_value_that_no_segment_has_is_refused_in_words(sent: list[dict[str, object]]) -> None:
    with pytest.raises(DataError, match="value 2, but label_info names only 1") as caught:
        join(drawn(1, 2), sent, known(run(LEFT)))
    assert "Submit the segments that the label shows" in str(caught.value)


# Several segments


def test_the_class_label_joins_the_segment_of_the_last_prompt() -> None:
    left = run(LEFT)
    (found,) = join(
        drawn(1, 2), [{"name": left.segment, "idx": 1}, {"name": "infection", "idx": 2}], known(left)
    ).segments
    assert (found.prompt, found.values, found.names) == (LEFT, (1, 2), (left.segment, "infection"))


def test_the_class_label_does_not_join_the_segment_of_an_earlier_prompt() -> None:
    left, right = run(LEFT), run(RIGHT)
    sent = [{"name": left.segment, "idx": 1}, {"name": "infection", "idx": 2}]
    found = join(drawn(1, 2), sent, known(left, right)).segments
    assert [(each.prompt, each.values) for each in found] == [(LEFT, (1,)), (RIGHT, (2,))]


def test_one_text_in_two_sides_is_two_things() -> None:
    in_picture = run("infection in the left lung", laterality="picture", segment="A")
    in_patient = run("infection in the left lung", segment="B")
    found = join(drawn(1, 2), info(A=1, B=2), known(in_picture, in_patient)).segments
    assert [(each.laterality, each.values) for each in found] == [("picture", (1,)), ("patient", (2,))]


def test_segments_without_a_prompt_stay_apart() -> None:
    found = join(drawn(1, 2), info(mask=1, other=2), known()).segments
    assert [each.names for each in found] == [("mask",), ("other",)]


def test_every_segment_has_its_own_rule() -> None:
    left = run(LEFT)
    sent = [{"name": name, "idx": number} for number, name in enumerate((left.segment, RIGHT, "mask"), start=1)]
    found = join(drawn(1, 2, 3), sent, known(left, row=ROW)).segments
    assert [each.source for each in found] == ["run", "segment name", "csv"]


def test_a_label_that_is_kept_whole_is_the_same_label() -> None:
    label = drawn(1, 2)
    joined = join(label, info(a=1, b=2), known())
    assert joined.dropped == ()
    assert np.array_equal(joined.label, label)


# Masks of earlier runs that nobody changed

EARLIER, LAST = run(LEFT), run(RIGHT)
MADE = drawn(1, 1, 0) > 0


def submitted(label: np.ndarray, knowledge: Known, second: str = LAST.segment) -> Joined:
    """A label whose value 1 is the earlier run's segment, and value 2 another one."""
    return join(label, [{"name": EARLIER.segment, "idx": 1}, {"name": second, "idx": 2}], knowledge)


def test_an_earlier_runs_mask_that_nobody_changed_is_left_out() -> None:
    joined = submitted(drawn(1, 1, 2), known(EARLIER, LAST, r0=MADE))
    assert joined.dropped == (EARLIER.segment,)
    assert np.array_equal(joined.label, drawn(0, 0, 2))
    assert [(each.prompt, each.values) for each in joined.segments] == [(RIGHT, (2,))]
    assert joined.label.dtype == np.uint8


def test_it_is_left_out_where_another_segment_covers_a_part_of_it() -> None:
    joined = submitted(drawn(1, 2, 2), known(EARLIER, LAST, r0=MADE))
    assert joined.dropped == (EARLIER.segment,)
    assert np.array_equal(joined.label, drawn(0, 2, 2))


@pytest.mark.parametrize("voxel", [0, 3, 8, 14])
def test_a_mask_that_is_changed_by_one_voxel_is_kept(voxel: int) -> None:
    label = drawn(1, 1, 2)
    label[0, 0, voxel] = 0 if label[0, 0, voxel] else 1
    joined = submitted(label, known(EARLIER, LAST, r0=MADE))
    assert joined.dropped == ()
    assert np.array_equal(joined.label, label)
    assert [each.prompt for each in joined.segments] == [LEFT, RIGHT]


def test_the_last_runs_mask_is_kept_when_nobody_changed_it() -> None:
    joined = submitted(drawn(1, 1, 2), known(LAST, EARLIER, r0=drawn(0, 0, 1) > 0, r1=MADE))
    assert joined.dropped == (LAST.segment,)
    assert [each.prompt for each in joined.segments] == [LEFT]


def test_the_mask_of_a_run_that_was_made_again_last_is_kept() -> None:
    joined = submitted(drawn(1, 1, 2), known(EARLIER, LAST, EARLIER, r0=MADE))
    assert joined.dropped == ()


@pytest.mark.parametrize("made", [{}, {"r0": MADE[:, :, :-1]}, {"r0": MADE[0]}, {"r0": ~MADE}])
def test_a_mask_that_is_not_known_to_be_unchanged_is_kept(made: dict[str, np.ndarray]) -> None:
    label = drawn(1, 1, 2)
    joined = submitted(label, known(EARLIER, LAST, **made))
    assert joined.dropped == ()
    assert np.array_equal(joined.label, label)


def test_a_renamed_mask_is_a_persons() -> None:
    joined = join(drawn(1, 1), info(mine=1), known(EARLIER, LAST, r0=MADE))
    assert joined.dropped == ()


def test_when_all_that_remains_is_unchanged_nothing_remains_and_no_prompt_is_made_up() -> None:
    names = [{"name": EARLIER.segment, "idx": 1}, {"name": LAST.segment, "idx": 2}]
    joined = join(drawn(1, 1, 0), names, known(EARLIER, LAST, r0=MADE))
    assert joined.dropped == (EARLIER.segment,)
    assert not joined.label.any()
    assert [each.prompt for each in joined.segments if each.values] == []


def test_an_earlier_run_is_kept_when_the_later_ones_segment_was_deleted() -> None:
    joined = join(drawn(1, 1, 0), [{"name": EARLIER.segment, "idx": 1}], known(EARLIER, LAST, r0=MADE))
    assert joined.dropped == () and joined.label.any()


def test_another_persons_run_in_between_makes_no_run_an_earlier_one() -> None:
    names = [{"name": EARLIER.segment, "idx": 1}, {"name": LAST.segment, "idx": 2}]
    others = replace(LAST, client="somebody else")
    joined = join(drawn(1, 1, 0), names, known(EARLIER, others, r0=MADE))
    assert joined.dropped == () and joined.label.any()


def test_what_a_dropped_segment_had_covered_is_given_back() -> None:
    again = replace(EARLIER, time="later")
    names = [{"name": EARLIER.segment, "idx": 1}, {"name": LAST.segment, "idx": 2}]
    made = {EARLIER.segment: drawn(1, 1, 0) > 0, LAST.segment: drawn(0, 1, 1) > 0}
    picture = replace(known(EARLIER, LAST, again), made=made.get)
    joined = join(drawn(1, 2, 2), names, picture)
    assert joined.dropped == (LAST.segment,)
    assert np.array_equal(joined.label, drawn(1, 1, 0))


def test_a_servers_name_that_was_forgotten_is_read_in_the_patients_sides() -> None:
    last = replace(LAST, viewer_laterality="picture")
    joined = join(drawn(1), [{"name": "infection R lower (patient side)", "idx": 1}], known(last))
    assert joined.segments[0].finding["right"] == ["lower"]


def test_the_label_that_was_submitted_is_not_changed() -> None:
    label = drawn(1, 1, 2)
    submitted(label, known(EARLIER, LAST, r0=MADE))
    assert np.array_equal(label, drawn(1, 1, 2))


# An empty label


def test_an_empty_label_answers_the_last_prompt_nothing_was_there() -> None:
    (found,) = join(drawn(), info(infection=1), known(run(LEFT), run(RIGHT))).segments
    assert (found.source, found.prompt, found.values, found.names) == ("last prompt", RIGHT, (), ())


def test_an_empty_label_without_a_last_prompt_answers_the_table_or_nothing() -> None:
    assert [each.prompt for each in join(drawn(), [], known(row=ROW)).segments] == [ROW.prompt]
    (found,) = join(drawn(), [], known()).segments
    assert (found.source, found.values) == ("none", ())


# What the one who submitted is told


def test_what_was_left_out_and_what_has_no_prompt_is_told() -> None:
    (left_out,) = told(submitted(drawn(1, 1, 2), known(EARLIER, LAST, r0=MADE)))
    assert EARLIER.segment in left_out and "nobody changed" in left_out
    (without,) = told(join(drawn(1, 2), info(mask=1, other=2), known()))
    assert '"mask", "other"' in without and "No prompt is known" in without
    assert told(join(drawn(1), info(infection=1), known(run(LEFT)))) == []
