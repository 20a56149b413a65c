"""The frozen hold-out: who is in stays in, whatever is submitted later, and nobody who was trained on comes in."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textseg.data.records import Record
from textseg.data.seen import Seen
from textseg.errors import DataError, StoreError
from textseg.learning.corrections import Correction
from textseg.learning.holdout import FILE, HoldOut


def correction(number: int, patient: str = "", name: str = "") -> Correction:
    """A correction of the picture whose pixels are told by `number`."""
    pixels = hashlib.sha256(str(number).encode()).hexdigest()
    record = Record(name or f"p{number}", Path("x.png"), Path("m.png"), "", None, None, patient)
    return Correction(record, pixels, patient)


def names(corrections: list[Correction]) -> set[str]:
    """Names of the pictures."""
    return {each.record.name for each in corrections}


def test_about_a_fifth_is_held_out(tmp_path):
    split = HoldOut(tmp_path).split([correction(number) for number in range(1000)], Seen())
    assert 160 < len(split.held) < 240 and len(split.held) + len(split.training) == 1000


@given(st.lists(st.integers(0, 60), min_size=1, max_size=30), st.lists(st.integers(0, 60), max_size=30))
def test_a_picture_stays_where_it_was(tmp_path_factory, first, second):
    folder = tmp_path_factory.mktemp("studies")
    before = HoldOut(folder).split([correction(number) for number in first], Seen())
    after = HoldOut(folder).split([correction(number) for number in first + second], Seen())
    assert names(before.held) <= names(after.held) and names(before.training) <= names(after.training)
    assert not names(after.held) & names(after.training)


def test_the_same_picture_under_another_name_stays_where_it_was(tmp_path):
    holdout = HoldOut(tmp_path)
    held = names(holdout.split([correction(number) for number in range(50)], Seen()).held)
    again = holdout.split([correction(number, name=f"again{number}") for number in range(50)], Seen())
    assert {name.replace("again", "p") for name in names(again.held)} == held


def test_all_pictures_of_a_patient_are_on_one_side(tmp_path):
    holdout = HoldOut(tmp_path)
    split = holdout.split([correction(number, patient=f"patient{number // 4}") for number in range(200)], Seen())
    patients = [{each.patient for each in part} for part in (split.held, split.training)]
    assert all(patients) and not patients[0] & patients[1]


def test_a_picture_whose_patient_becomes_known_later_stays_where_it_was(tmp_path):
    holdout = HoldOut(tmp_path)
    before = holdout.split([correction(number) for number in range(60)], Seen())
    after = holdout.split([correction(number, patient=f"patient{number}") for number in range(60)], Seen())
    assert names(after.held) == names(before.held)


def test_what_the_base_was_trained_on_never_comes_in(tmp_path):
    everything = [correction(number) for number in range(100)]
    split = HoldOut(tmp_path).split(everything, Seen(each.pixels for each in everything))
    assert not split.held
    assert not HoldOut(tmp_path).split(everything, Seen()).held  # it was trained on since


def held_patient(folder: Path) -> str:
    """A patient who would be held out."""
    for number in range(100):
        patient = f"patient{number}"
        if HoldOut(folder / patient).split([correction(0, patient)], Seen()).held:
            return patient
    raise AssertionError


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_patient_whom_the_base_knows_is_not_held_out_in_any_order(tmp_path, order):
    patient = held_patient(tmp_path)
    seen = Seen([correction(1).pixels])
    split = HoldOut(tmp_path).split([correction(number, patient) for number in order], seen)
    assert not split.held and len(split.training) == 2


def test_what_is_held_out_never_judges_a_model_whose_base_knows_it(tmp_path):
    pictures = [correction(number) for number in range(50)]
    held = HoldOut(tmp_path).split(pictures, Seen()).held
    split = HoldOut(tmp_path).split(pictures, Seen(each.pixels for each in pictures))
    assert held and not split.held and not names(split.training) & names(held)
    assert names(HoldOut(tmp_path).split(pictures, Seen()).held) == names(held)


def test_a_damaged_file_is_told_and_shuffles_nothing(tmp_path):
    HoldOut(tmp_path).split([correction(1)], Seen())
    (tmp_path / FILE).write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        HoldOut(tmp_path).split([correction(2)], Seen())
    assert (tmp_path / FILE).read_text() == "{"


def test_the_file_holds_no_names(tmp_path):
    HoldOut(tmp_path).split([correction(number, patient="Miller^Jane") for number in range(5)], Seen())
    text = (tmp_path / FILE).read_text()
    assert "Miller" not in text and "p1" not in text and json.loads(text)


def test_pictures_seen_come_back_from_their_file(tmp_path):
    pictures = [correction(number).pixels for number in range(20)]
    path = tmp_path / "model.seen"
    Seen(pictures[:10]).write(path)
    seen = Seen.read(path).joined(pictures[10:15])
    assert [each in seen for each in pictures] == [True] * 15 + [False] * 5 and len(seen) == 15
    assert path.stat().st_size == 80 and len(Seen.read(tmp_path / "other.seen")) == 0
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="cut off"):
        Seen.read(path)
