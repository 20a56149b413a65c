"""A thousand writers killed: nothing that was acknowledged is lost, in small and in large folders."""

from pathlib import Path

import pytest
from killing import Figures, Pool, kill_writers, writers

KILLS, POOLS = 50, 10  # kills in a folder, folders of one size


@pytest.mark.parametrize("pictures", [20, 1_000])
def test_nothing_acknowledged_is_lost_when_many_writers_are_killed(tmp_path: Path, pictures: int) -> None:
    figures = Figures()
    with writers(tmp_path / "errors.txt") as started:
        for seed in range(100, 100 + POOLS):
            pool = Pool.filled(tmp_path / f"studies{seed}", pictures, seed)
            figures += kill_writers(pool, started, tmp_path, KILLS, seed)
            print(f"{pictures} pictures, seeds 100 to {seed}: {figures}", flush=True)
    assert (figures.kills, figures.torn) == (KILLS * POOLS, 0)
