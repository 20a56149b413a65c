"""kill -9 at any moment of a save costs nothing that was acknowledged, in small and in large folders."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from killing import WRITER, Pool, Writers, kill_writers, writers

KILLS = 50


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Writers]:
    """Writers for all tests."""
    with writers(tmp_path_factory.mktemp("writers") / "errors.txt") as process:
        yield process


@pytest.mark.parametrize(("pictures", "seed"), [(20, 1), (1_000, 2)])
def test_nothing_acknowledged_is_lost_when_writers_are_killed(
    tmp_path: Path, started: Writers, pictures: int, seed: int
) -> None:
    print(f"seed {seed}, {pictures} pictures")
    pool = Pool.filled(tmp_path / "studies", pictures, seed)
    figures = kill_writers(pool, started, tmp_path, KILLS, seed)
    print(figures)
    assert (figures.kills, figures.torn) == (KILLS, 0)
    assert figures.saves >= KILLS


def test_the_store_saves_labels_and_prompts_without_torch(tmp_path: Path) -> None:
    code = (
        "import json, sys, random, pathlib, writer\n"
        f"writer.keep_one(writer.Store(pathlib.Path({str(tmp_path)!r})), 'p', 'left lung', random.Random(0))\n"
        "print(json.dumps([name for name in sys.modules if '.' not in name]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=WRITER.parent, capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & {"torch", "monai", "monailabel", "timm"} == set()
