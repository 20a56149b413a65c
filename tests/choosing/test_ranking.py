"""The order that a click reads, and how it is put together."""

from itertools import pairwise

import numpy as np
import pytest

from textseg.choosing.disagreement import FLIP, TEXT
from textseg.choosing.order import ASKS, EARLIER, UNSCORED, WHY, ordered
from textseg.choosing.ranking import OFF, UNKNOWN, Ranked, Ranking
from textseg.choosing.scores import Key, Scored, Scores

RANDOM = np.random.default_rng(1)
SERVED = "served"


@pytest.fixture
def scores() -> Scores:
    return Scores(None)


def put(scores: Scores, name: str, score: float | None, finding: str = "f", weights: str = SERVED, **parts) -> None:
    """A picture that looks like no other."""
    look = RANDOM.normal(size=16).astype(np.float16)
    scores.put(name, Scored(Key(name, weights, finding), look, score, parts))


def test_scored_ones_first_then_unlike_ones_then_those_that_ask_for_a_prompt(scores: Scores) -> None:
    put(scores, "asks", 0.9, finding="")
    put(scores, "looked at", None)
    put(scores, "little", 0.01, flip=0.02)
    put(scores, "much", 0.6, flip=0.9)
    names = ["asks", "little", "looked at", "much", "unknown"]
    ranking = Ranking(lambda: names)
    ranking.put(ordered(names, scores, SERVED))
    found = ranking.best(10)
    assert [each.picture for each in found] == ["much", "little", "looked at", "asks", "unknown"]
    assert [each.score for each in found] == [0.6, 0.01, None, 0.9, None]
    assert [each.asks for each in found] == [False, False, False, True, False]
    assert found[2].reason == UNSCORED and found[3].reason.startswith(ASKS) and found[4].reason == UNKNOWN


def test_the_reason_names_what_counts_most_in_the_score(scores: Scores) -> None:
    put(scores, "a", 0.25, **{FLIP: 0.05, TEXT: 0.9})
    put(scores, "b", 0.24, weights="of before", **{FLIP: 0.4, TEXT: 0.9})
    first, second = ordered(["a", "b"], scores, SERVED)
    assert WHY[TEXT] in first.reason and "0.25" in first.reason and EARLIER not in first.reason
    assert WHY[FLIP] in second.reason and second.reason.endswith(EARLIER)


def test_a_picture_like_a_labelled_one_waits(scores: Scores) -> None:
    for name in ("one", "two", "done"):
        put(scores, name, 0.5)
    twin = scores.newest("done")
    scores.put("twin", Scored(Key("twin", SERVED, "f"), twin.look, 0.5))
    assert ordered(["twin", "one", "two"], scores, SERVED, ["done"])[-1].picture == "twin"


def test_what_is_not_scored_is_unlike_what_comes_before_it_first(scores: Scores, monkeypatch) -> None:
    monkeypatch.setattr("textseg.choosing.order.SPREAD", 1)
    for name in ("first listed", "best"):
        put(scores, name, 0.1 if name == "first listed" else 0.9)
    for name, like in (("like the best", "best"), ("like the other", "first listed")):
        scores.put(name, Scored(Key(name, SERVED, "f"), scores.newest(like).look))
    order = ordered(["first listed", "best", "like the best", "like the other"], scores, SERVED)
    assert [each.picture for each in order] == ["best", "first listed", "like the other", "like the best"]


def test_looks_of_another_network_do_no_harm(scores: Scores) -> None:
    put(scores, "now", 0.5)
    scores.put("before", Scored(Key("before", "other", "f"), np.ones(7, np.float16), 0.4))
    assert {each.picture for each in ordered(["now", "before"], scores, SERVED)} == {"now", "before"}


def test_what_is_labelled_meanwhile_is_passed_over_and_what_is_new_comes_last() -> None:
    left = ["a", "b", "c"]
    ranking = Ranking(lambda: left)
    ranking.put([Ranked("b", 0.9, "."), Ranked("a", 0.8, ".")])
    assert [each.picture for each in ranking.best(3)] == ["b", "a", "c"]
    left.remove("b")
    assert [each.picture for each in ranking.best(1)] == ["a"]
    assert ranking.best(0) == []


def test_names_that_differ_by_a_number_come_in_an_order_of_chance_that_stays() -> None:
    names = [f"scan_{number}" for number in range(50)]
    ranking = Ranking(lambda: names, OFF)
    order = [each.picture for each in ranking.best(50)]
    assert order == [each.picture for each in ranking] and sorted(order) == sorted(names)
    assert sum(abs(names.index(one) - names.index(two)) == 1 for one, two in pairwise(order)) < 15
    assert {each.reason for each in ranking} == {OFF}


def test_reading_it_computes_nothing(scores: Scores, monkeypatch: pytest.MonkeyPatch) -> None:
    put(scores, "a", 0.5)
    ranking = Ranking(lambda: ["a"])
    ranking.put(ordered(["a"], scores, SERVED))
    monkeypatch.setattr(Scores, "newest", None)
    monkeypatch.setattr("textseg.choosing.order.spread", None)
    assert ranking.best(1)[0].score == 0.5
