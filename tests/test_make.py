"""The Makefile, on an environment of stand-ins that print how they were called."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STAND_IN = '#!/bin/sh\necho "$(basename "$0") called:" "$@"\n'
DRAWS = '#!/bin/sh\nmkdir -p "$2" && echo drawn > "$2/prompts.csv"\n'


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A folder with the Makefile and an environment that counts as installed."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "constraints-fuzz.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    binaries = tmp_path / ".venv" / "bin"
    binaries.mkdir(parents=True)
    for name, text in (("python", STAND_IN), ("textseg", DRAWS)):
        (binaries / name).write_text(text)
        (binaries / name).chmod(0o755)
    (tmp_path / ".venv" / ".serve").touch()
    return tmp_path


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", "--no-print-directory", *arguments], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_serve_draws_studies_once_and_starts_on_loopback(house: Path) -> None:
    said = make(house, "serve")
    assert said.returncode == 0, said.stderr
    assert "start_server --app apps/textseg --studies studies --host 127.0.0.1 --port 8000" in said.stdout
    assert "3D Slicer" in said.stdout
    assert "WARNING" not in said.stdout
    (house / "studies" / "prompts.csv").write_text("mine")
    make(house, "serve")
    assert (house / "studies" / "prompts.csv").read_text() == "mine"


def test_serve_takes_what_is_asked(house: Path) -> None:
    (house / "my studies").mkdir()
    said = make(house, "serve", "STUDIES=my studies", "PORT=9001", "HOST=0.0.0.0", "CONF=models all").stdout
    assert "--studies my studies --host 0.0.0.0 --port 9001 --conf models all" in said
    assert "HOST=0.0.0.0: other machines reach the server, and it refuses them" in said and "WARNING" not in said
    assert not (house / "studies").exists()


def test_opening_the_server_to_other_machines_is_told(house: Path) -> None:
    said = make(house, "serve", "HOST=0.0.0.0", "CONF=allow_remote true").stdout
    assert "WARNING: HOST=0.0.0.0 and allow_remote let every machine" in said
    assert "--host 0.0.0.0 --port 8000 --conf allow_remote true" in said


def test_a_studies_folder_that_is_not_there_is_refused(house: Path) -> None:
    said = make(house, "serve", "STUDIES=nowhere")
    assert said.returncode != 0
    assert "There is no folder nowhere" in said.stdout
    assert "start_server" not in said.stdout


@pytest.mark.parametrize("python", ["/nowhere/python3.11", ""])
def test_without_a_suitable_python_it_says_how_to_get_one(house: Path, python: str) -> None:
    shutil.rmtree(house / ".venv")
    said = make(house, "serve", f"PYTHON={python}")
    assert said.returncode != 0
    assert "needs Python 3.11" in said.stdout
    assert "apt install python3.11-venv" in said.stdout


@pytest.mark.parametrize(("target", "runs"), [("test", "pytest"), ("soak", "pytest tests/soak -s")])
def test_the_fuzzer_gets_an_environment_of_its_own(house: Path, target: str, runs: str) -> None:
    said = make(house, "-n", target)
    assert said.returncode == 0, said.stderr
    assert ".venv/bin/python -m venv --clear .fuzz" in said.stdout
    assert re.search(r"\.fuzz/bin/python -m pip install .* -c constraints-fuzz\.txt schemathesis", said.stdout)
    assert said.stdout.rstrip().endswith(f".venv/bin/python -m {runs}")


def test_serve_needs_no_fuzzer(house: Path) -> None:
    assert ".fuzz" not in make(house, "-n", "serve").stdout


def test_clean_leaves_only_what_is_not_made(house: Path) -> None:
    (house / "mine").mkdir()
    for made in (".fuzz", "studies"):
        (house / made).mkdir()
    assert make(house, "clean").returncode == 0
    assert {path.name for path in house.iterdir() if path.is_dir()} == {"mine"}


@pytest.mark.parametrize("name", ["constraints.txt", "constraints-fuzz.txt"])
def test_pins_are_names_and_versions_alone(name: str) -> None:
    lines = (ROOT / name).read_text().splitlines()
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+]+", line)] == []


def test_the_soak_test_runs_only_when_it_is_named() -> None:
    others = [
        f"--ignore={folder}" for folder in (ROOT / "tests").iterdir() if folder.is_dir() and folder.name != "soak"
    ]

    def collected(folder: str) -> str:
        command = [sys.executable, "-m", "pytest", "--collect-only", *others, folder]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120).stdout

    assert "test_fuzz_long.py::" in collected("tests/soak")
    assert "test_make.py::" in collected("tests")
    assert "test_fuzz_long.py::" not in collected("tests")
