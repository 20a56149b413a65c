"""A learning curve on drawn pictures: its parts never touch, a kill costs a round at most, what it tells is there."""

import json
from dataclasses import replace

import pytest
from corrected import SPEC, VALID
from PIL import Image

from textseg.cli import main
from textseg.data.records import Record
from textseg.engine.fit import Assignment
from textseg.errors import DataError, OptionError
from textseg.learning import curve as curves
from textseg.learning import reference, tuning
from textseg.learning.corrections import gather
from textseg.learning.curve import Curve, begin, run_curve, teach_in_process
from textseg.learning.curve_report import report_of, table_of
from textseg.learning.lessons import Source, corrected, draw_lessons


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few reference pictures and few drawn ones beside the corrections."""
    monkeypatch.setattr(reference, "PHANTOMS", 3)
    monkeypatch.setattr(reference, "SIZE", 96)
    monkeypatch.setattr(tuning, "REPLAYED", 2)


def patients(records: list[Record]) -> set[str]:
    """Whose pictures they are."""
    return {record.patient for record in records}


def test_the_parts_have_no_patient_in_common_and_hang_on_the_seed(data):
    lessons = draw_lessons(Source(data, "picture"), 8, 2, 3, seed=1)
    assert [len(lessons.base), *map(len, lessons.rounds), len(lessons.measured)] == [8, 3, 3, VALID]
    parts = [lessons.base, lessons.rounds[0] + lessons.rounds[1], lessons.measured]
    assert not any(patients(a) & patients(b) for a in parts for b in parts if a is not b)
    again, other = (draw_lessons(Source(data, "picture"), 8, 2, 3, seed=seed) for seed in (1, 2))
    assert again == lessons and other.base != lessons.base and other.measured == lessons.measured


def test_corrections_ask_for_the_patients_side_once_converted(data, tmp_path):
    records = draw_lessons(Source(data, "picture"), 0, 1, 10, seed=1).rounds[0]
    corrections = gather(corrected(records, tmp_path), SPEC.name)
    assert len(corrections.usable) == 10 and not corrections.left_out  # a mask on the other side would be left out
    assert [correction.record.finding for correction in corrections.usable] == [record.finding for record in records]


def test_another_folder_of_masks_is_another_style_with_words_of_its_own(data):
    source = Source(data, "picture", "", measured=5, masks="consolidation")
    lessons = draw_lessons(source, 0, 1, 6, seed=1)
    assert (len(lessons.measured), len(lessons.rounds[0])) == (5, 6)
    for record in lessons.measured:
        assert record.mask.parent.name == "consolidation" and record.finding is not None
        assert not record.finding.nothing or not record.load()[1].any()
    with pytest.raises(DataError, match="Name one that holds masks"):
        draw_lessons(Source(data, "picture", masks="nowhere"), 0, 1, 6, seed=1)


def test_too_few_pictures_are_told(data):
    with pytest.raises(DataError, match="Ask for fewer"):
        draw_lessons(Source(data, "picture"), 20, 2, 30, seed=1)


def test_a_killed_curve_goes_on_with_the_round_that_it_was_at(data, tmp_path, small):
    curve = Curve(SPEC, Source(data, "picture"), base=0, rounds=2, corrections=3, epochs=1)
    taught = []

    def killed_in_the_second(site, before, new):
        taught.append((site.folder.name, len(before), len(new)))
        teach_in_process(site, before, new)
        if taught.count(("round2", 3, 3)) == 1 and site.folder.name == "round2":
            raise KeyboardInterrupt  # published or rejected, but nothing noted

    with pytest.raises(KeyboardInterrupt):
        run_curve(curve, tmp_path, [1], lambda seed: killed_in_the_second)
    results = run_curve(curve, tmp_path, [1], lambda seed: killed_in_the_second)
    assert taught == [("round1", 0, 3), ("round2", 3, 3), ("round2", 3, 3)]
    assert [result["round"] for result in results] == [0, 1, 2]
    samples = [result["gate"]["samples"] for result in results[1:]]
    assert [each["corrections"] + each["held_out"] for each in samples] == [3, 6]
    for result, before in zip(results[1:], results, strict=False):
        assert (result["served"] == before["served"]) is not result["published"]
    assert run_curve(curve, tmp_path, [1], lambda seed: pytest.fail) == results
    report = report_of(results)
    assert report["means"][0]["gain"] == 0 and "scores" not in report["rounds"][1]["served"]
    assert [line.split()[:2] for line in table_of(results)[1:]] == [
        [who, str(number)] for who in ("1", "mean") for number in (0, 1, 2)
    ]


def test_a_folder_of_another_curve_is_refused(data, tmp_path):
    begin(Curve(SPEC, Source(data, "picture")), tmp_path)
    begin(Curve(SPEC, Source(data, "picture")), tmp_path)
    with pytest.raises(OptionError, match=r"other options \(rounds\)"):
        begin(Curve(SPEC, Source(data, "picture"), rounds=3), tmp_path)


def test_the_command_writes_table_report_and_picture(data, tmp_path, small, monkeypatch, capsys):
    fit = curves.fit
    monkeypatch.setattr(curves, "fit", lambda task: fit(small_task(task)))
    command = ["learning-curve", "--data", str(data), "--laterality", "picture", "--output", str(tmp_path)]
    command += ["--seeds", "1", "--base", "8", "--base-epochs", "1", "--phantoms", "0", "--rounds", "1"]
    assert main([*command, "--corrections", "4", "--epochs", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "curve.json").read_text())
    assert [each["round"] for each in report["rounds"]] == [0, 1]
    assert report["rounds"][1]["verdict"] in (tmp_path / "curve.txt").read_text()
    assert Image.open(tmp_path / "curve.png").getcolors(2**20)
    assert main([*command, "--corrections", "5"]) == 2 and "other options" in capsys.readouterr().err


def small_task(task: Assignment) -> Assignment:
    """A base from random weights: the pretrained ones need not be installed."""
    return replace(task, recipe=replace(task.recipe, pretrained=False))
