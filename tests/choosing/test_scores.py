"""A score is found again for the same picture, weights and words alone, after a restart as well."""

from pathlib import Path

import numpy as np
import pytest

from textseg.choosing.scores import KEPT, Key, Scored, Scores

LOOK = np.linspace(0, 1, 320).astype(np.float16)


def key(picture: str = "p", weights: str = "w", finding: str = "f") -> Key:
    return Key(picture, weights, finding)


@pytest.fixture
def kept(tmp_path: Path) -> Scores:
    return again(tmp_path)


def again(folder: Path) -> Scores:
    """As a server that starts anew has them."""
    return Scores(folder / "scores", folder / "unfinished")


@pytest.mark.parametrize("other", [key("other"), key(weights="other"), key(finding="other")])
def test_found_by_all_three_and_by_nothing_less(kept: Scores, other: Key) -> None:
    kept.put("chest", Scored(key(), LOOK, 0.5, {"flip": 0.5}))
    assert kept.find("chest", key()).score == 0.5
    assert kept.find("chest", other) is None
    assert kept.find("another", key()) is None
    assert kept.newest("chest").score == 0.5


def test_kept_over_a_restart_to_the_last_digit(kept: Scores, tmp_path: Path) -> None:
    kept.put("chest", Scored(key(), LOOK, 1 / 3, {"flip": 0.1, "zone": 0.7}))
    kept.put("no words", Scored(key(finding=""), LOOK))
    later = again(tmp_path)
    later.load(["chest", "no words", "never seen"])
    found = later.find("chest", key())
    assert (found.score, found.parts, found.asks) == (1 / 3, {"flip": 0.1, "zone": 0.7}, False)
    assert np.array_equal(found.look, LOOK)
    assert later.newest("no words").asks and later.newest("no words").score is None
    assert len(later) == 2


def test_going_back_to_the_weights_before_costs_nothing(kept: Scores, tmp_path: Path) -> None:
    for number, weights in enumerate(("v1", "v2", "v3")):
        kept.put("chest", Scored(key(weights=weights), LOOK, number / 10))
    assert kept.newest("chest").score == 0.2
    later = again(tmp_path)
    later.load(["chest"])
    assert later.find("chest", key(weights="v2")).score == 0.1
    assert later.newest("chest").key.weights == "v2"
    assert later.find("chest", key(weights="v1")) is None and KEPT == 2


def test_another_prompt_takes_the_place_of_the_one_before(kept: Scores) -> None:
    kept.put("chest", Scored(key(), LOOK, 0.5))
    kept.put("chest", Scored(key(finding="g"), LOOK, 0.1))
    assert kept.find("chest", key()) is None and kept.find("chest", key(finding="g")).score == 0.1


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b'{"schema": 1, "scores": [{"key": 3}]}', b'{"schema": 99}', b"\xff" * 9]
)
def test_a_damaged_file_is_computed_anew(kept: Scores, tmp_path: Path, damaged: bytes) -> None:
    kept.put("chest", Scored(key(), LOOK, 0.5))
    (tmp_path / "scores" / "chest.json").write_bytes(damaged)
    later = again(tmp_path)
    later.load(["chest"])
    assert later.newest("chest") is None
    later.put("chest", Scored(key(), LOOK, 0.6))
    last = again(tmp_path)
    last.load(["chest"])
    assert last.find("chest", key()).score == 0.6


def test_pictures_that_are_gone_leave_nothing(kept: Scores, tmp_path: Path) -> None:
    for name in ("stays", "goes"):
        kept.put(name, Scored(key(), LOOK, 0.5))
    kept.keep_only(["stays"])
    assert [path.name for path in (tmp_path / "scores").iterdir()] == ["stays.json"]
    assert kept.newest("goes") is None and kept.newest("stays") is not None


def test_a_disk_that_takes_nothing_leaves_it_in_memory(tmp_path: Path) -> None:
    (tmp_path / "scores").write_text("a file in the folder's place")
    kept = again(tmp_path)
    kept.put("chest", Scored(key(), LOOK, 0.5))
    assert kept.find("chest", key()).score == 0.5


def test_it_may_be_kept_nowhere() -> None:
    kept = Scores(None)
    kept.load(["chest"])
    kept.put("chest", Scored(key(), LOOK, 0.5))
    kept.keep_only([])
    assert len(kept) == 0


def test_what_lies_there_is_small(kept: Scores, tmp_path: Path) -> None:
    for weights in ("a" * 64, "b" * 64):
        kept.put(
            "chest", Scored(key(weights=weights), LOOK, 0.5, dict.fromkeys(("flip", "zone", "text", "count"), 1 / 3))
        )
    assert (tmp_path / "scores" / "chest.json").stat().st_size < 3000
