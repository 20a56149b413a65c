"""A batch is not twenty times the same picture."""

import numpy as np
import pytest

from textseg.choosing import diversity
from textseg.choosing.diversity import spread

RANDOM = np.random.default_rng(0)
KINDS = RANDOM.normal(size=(5, 12)).astype(np.float32)


def alike(kind: int, count: int) -> np.ndarray:
    """Looks of pictures of one kind."""
    return KINDS[kind] + 0.01 * RANDOM.normal(size=(count, 12)).astype(np.float32)


def test_of_kinds_of_pictures_each_comes_before_any_comes_again() -> None:
    looks = np.concatenate([alike(0, 40), *(alike(kind, 3) for kind in range(1, 5))])
    order = spread(looks, np.ones(len(looks), np.float32), looks[:0], 5)
    kinds = [0 if row < 40 else 1 + (row - 40) // 3 for row in order[:5]]
    assert sorted(kinds) == [0, 1, 2, 3, 4]
    assert sorted(order) == list(range(len(looks)))


def test_what_was_taken_earlier_counts_as_taken() -> None:
    looks = np.concatenate([alike(kind, 2) for kind in range(3)])
    order = spread(looks, np.ones(6, np.float32), np.concatenate([alike(0, 5), alike(1, 5)]), 1)
    assert order[0] in (4, 5)


def test_the_one_worth_most_is_first_and_its_twins_wait() -> None:
    looks = np.concatenate([alike(0, 3), alike(1, 3)])
    worth = np.array([0.9, 0.89, 0.88, 0.3, 0.2, 0.1], np.float32)
    assert spread(looks, worth, looks[:0], 2)[:2] == [0, 3]


def test_the_rest_follows_by_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "MOST", 3)
    worth = np.array([0.1, 0.5, 0.4, 0.3, 0.2], np.float32)
    order = spread(RANDOM.normal(size=(5, 4)), worth, np.zeros((0, 4)), 2)
    assert order[0] == 1 and set(order[:2]) <= {1, 2, 3}
    assert sorted(order[2:], key=lambda row: -worth[row]) == order[2:]


@pytest.mark.parametrize("count", [0, 1])
def test_none_and_one(count: int) -> None:
    assert spread(np.zeros((count, 4)), np.ones(count), np.zeros((0, 4)), 3) == list(range(count))
