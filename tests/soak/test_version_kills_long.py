"""Hundreds of publishers killed: what serves is always whole."""

from pathlib import Path

from learnt import SPEC
from publisher import Killed

KILLS, FOLDERS = 50, 8  # kills in a folder


def test_many_killed_publishers_leave_a_whole_version_served(tmp_path: Path) -> None:
    for seed in range(100, 100 + FOLDERS):
        killed = Killed(tmp_path / str(seed) / SPEC.name, seed)
        killed.folder.parent.mkdir()
        for _ in range(KILLS):
            killed.kill_one()
        print(f"seed {seed}: {killed.kills} kills, {killed.cut} cut off, {len(killed.numbers)} candidates", flush=True)
        assert killed.kills == KILLS
