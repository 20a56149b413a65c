"""How an epoch is cut: the same pictures make a step, however many passes and processes share it."""

import pytest

from textseg.engine.steps import EpochPasses


def steps(batch: int, processes: int, count: int = 23, step: int = 8, epoch: int = 1) -> list[set[int]]:
    """The pictures of each step, of all processes together, those that count."""
    cut = [EpochPasses(count, 5, step, batch, process, processes) for process in range(processes)]
    together: list[list[int]] = []
    for one in cut:
        one.epoch = epoch
        for number, (part, counted) in enumerate(zip(one, one.counted, strict=True)):
            assert 1 <= len(part) <= batch and {index[0] for index in part} == {epoch}
            together += [[]] * (number // one.passes + 1 - len(together))
            together[number // one.passes] = together[number // one.passes] + [index[1] for index in part[:counted]]
    assert all(len(set(numbers)) == len(numbers) for numbers in together)
    return [set(numbers) for numbers in together]


@pytest.mark.parametrize(("batch", "processes"), [(4, 1), (3, 1), (1, 1), (4, 2), (2, 2), (1, 3), (1, 8)])
def test_a_step_has_the_same_pictures_however_it_is_shared(batch, processes):
    whole = steps(8, 1)
    assert [len(numbers) for numbers in whole] == [8, 8, 7] and set.union(*whole) == set(range(23))
    assert steps(batch, processes) == whole


@pytest.mark.parametrize(("batch", "processes"), [(8, 1), (3, 1), (4, 2), (1, 3), (1, 8)])
def test_the_passes_of_a_step_weigh_one_together(batch, processes):
    for count in (8, 7, 1):
        cut = [EpochPasses(count, 5, 8, batch, process, processes) for process in range(processes)]
        assert len({len(one) for one in cut}) == 1
        assert sum(sum(one.weights) for one in cut) == pytest.approx(1)
        assert sum(sum(one.counted) for one in cut) == count


def test_every_epoch_is_shuffled_anew_and_always_in_the_same_way():
    assert steps(8, 1, epoch=2) != steps(8, 1)
    assert steps(8, 1, epoch=2) == steps(8, 1, epoch=2)
