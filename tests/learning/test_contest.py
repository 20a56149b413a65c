"""Ways to choose side by side: one base, nothing labelled twice, a kill costs a round at most, table and picture."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from corrected import SPEC
from PIL import Image

from textseg.choosing.disagreement import Disagreement
from textseg.cli import main
from textseg.data.records import Record
from textseg.engine.predictor import Predictor
from textseg.errors import OptionError
from textseg.learning import contest as contests
from textseg.learning.contest import ACTIVE, UNIFORM, WAYS, Contest, choose, run_contest
from textseg.learning.contest_report import summary_of, table_of
from textseg.learning.curve import Curve, SeedRun, Site
from textseg.learning.lessons import Lessons, Source, draw_lessons

POOL, ROUNDS, EACH = 8, 2, 3


class Rounds:
    """Stands in for the retraining, which tests of the curve try: notes what is taught. dies: at the so-maniest."""

    def __init__(self) -> None:
        self.taught: list[tuple[str, int, int, int]] = []
        self.dies = 0

    def round(self, run: SeedRun, number: int, site: Site, before: list, new: list, lessons: Lessons) -> None:
        self.taught.append((run.folder.name, number, len(before), len(new)))
        if len(self.taught) == self.dies:
            raise KeyboardInterrupt
        run.keep(number, {"served": {"dice_image": 0.5 + number / 10}})


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Scores without a network: the greater the number in a picture's name, the greater."""
    rounds = Rounds()
    monkeypatch.setattr(contests.SeedRun, "round", lambda *given: rounds.round(*given))
    monkeypatch.setattr(contests, "figures_of", lambda *given: {"dice_image": 0.5})
    monkeypatch.setattr(contests, "Predictor", SimpleNamespace(load=lambda *given, **named: None))
    monkeypatch.setattr(contests, "_asked", asked)
    monkeypatch.setattr(contests, "look_of", lambda predictor, picture: look(int(picture.pixels.sum())))
    return rounds


def look(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=16).astype(np.float16)


def asked(predictor: Predictor, record: Record) -> Disagreement:
    number = int(record.name[1:])
    return Disagreement(number / 100, {"flip": number / 100}, look(number))


def contest_of(data: Path) -> Contest:
    return Contest(Curve(SPEC, Source(data, "picture"), base=0, rounds=ROUNDS, corrections=EACH, epochs=1), POOL)


def chosen(folder: Path, way: str) -> list[str]:
    paths = [folder / "seed1" / way / f"round{number}.chosen" for number in range(1, ROUNDS + 1)]
    return [name for path in paths for name in json.loads(path.read_text())]


def test_each_way_labels_other_pictures_none_twice_and_all_begin_alike(data, tmp_path, small):
    small.dies = 2
    with pytest.raises(KeyboardInterrupt):
        run_contest(contest_of(data), tmp_path, [1], (UNIFORM, ACTIVE))
    results = run_contest(contest_of(data), tmp_path, [1], (UNIFORM, ACTIVE))
    assert small.taught == [
        *((UNIFORM, number, EACH * (number - 1), EACH) for number in (1, 2, 2)),
        *((ACTIVE, number, EACH * (number - 1), EACH) for number in (1, 2)),
    ]
    assert [(result["way"], result["round"]) for result in results] == [
        (way, number) for way in (UNIFORM, ACTIVE) for number in range(ROUNDS + 1)
    ]
    assert results[0]["served"] == results[ROUNDS + 1]["served"]
    (pool,) = draw_lessons(Source(data, "picture"), 0, 1, POOL, 1).rounds
    for way in (UNIFORM, ACTIVE):
        assert set(Counter(chosen(tmp_path, way)).values()) == {1} and len(chosen(tmp_path, way)) == ROUNDS * EACH
        assert set(chosen(tmp_path, way)) <= {record.name for record in pool}
    assert chosen(tmp_path, ACTIVE)[0] == max((record.name for record in pool), key=lambda name: int(name[1:]))
    assert chosen(tmp_path, UNIFORM) != chosen(tmp_path, ACTIVE)
    lines = table_of(results, EACH)
    assert [line.split()[:3] for line in lines[1:7]] == [
        [way, str(number), str(EACH * number)] for way in (UNIFORM, ACTIVE) for number in range(ROUNDS + 1)
    ]
    assert lines[-1].startswith("active reaches uniform's final Dice")
    with pytest.raises(OptionError, match=r"other options \(pool\)"):
        run_contest(Contest(contest_of(data).curve, POOL + 1), tmp_path, [1], (UNIFORM,))


def test_chance_hangs_on_the_seed_and_every_way_gives_as_many(data, small):
    (pool,) = draw_lessons(Source(data, "picture"), 0, 1, POOL, 1).rounds
    for way in WAYS:
        found = choose(way, None, pool[2:], pool[:2], 4, 1)
        assert len({record.name for record in found}) == 4 and not {*found} & {*pool[:2]}
    one, again, other = (choose(UNIFORM, None, pool, [], 5, seed) for seed in (1, 1, 2))
    assert one == again != other


def test_what_cannot_be_is_refused(data, tmp_path):
    with pytest.raises(OptionError, match="not 'best'"):
        run_contest(contest_of(data), tmp_path, [1], ("best",))
    with pytest.raises(OptionError, match="--pool"):
        run_contest(Contest(contest_of(data).curve, 5), tmp_path, [1], WAYS)


def results_of(**dice: list[list[float]]) -> list[dict]:
    """way -> for each seed the Dice of each round."""
    return [
        {"way": way, "seed": seed, "round": number, "served": {"dice_image": value}}
        for way, seeds in dice.items()
        for seed, values in enumerate(seeds)
        for number, value in enumerate(values)
    ]


def test_the_table_says_spread_gain_and_how_few_labels_it_takes() -> None:
    results = results_of(uniform=[[0.5, 0.6, 0.7], [0.5, 0.6, 0.6]], active=[[0.5, 0.7, 0.7], [0.5, 0.65, 0.7]])
    rows = {(row["way"], row["round"]): row for row in summary_of(results)}
    assert rows["active", 1]["gain"] == {
        "mean": pytest.approx(0.075),
        "least": pytest.approx(0.05),
        "most": pytest.approx(0.1),
    }
    assert rows["uniform", 2]["spread"] == pytest.approx(0.0707, abs=1e-3) and rows["uniform", 2]["gain"] is None
    assert table_of(results, 20)[-1] == "active reaches uniform's final Dice (0.650) after 20 labels."
    behind = results_of(uniform=[[0.5, 0.7]], active=[[0.5, 0.6]])
    assert table_of(behind, 20)[-1].endswith("not at all.")


def test_the_command_writes_table_and_picture(data, tmp_path, small, capsys):
    command = ["learning-curve", "--data", str(data), "--laterality", "picture", "--output", str(tmp_path)]
    command += ["--seeds", "1", "--base", "0", "--rounds", "1", "--corrections", "4", "--epochs", "1"]
    assert main([*command, "--choose", "active", "--pool", "6", "--model", SPEC.name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(row["way"], row["round"]) for row in told] == [("active", 0), ("active", 1)]
    assert "active" in (tmp_path / "contest.txt").read_text()
    assert Image.open(tmp_path / "contest.png").getcolors(2**20)
