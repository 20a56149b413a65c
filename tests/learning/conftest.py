"""Fixtures of learning: a folder in which three versions were published, and a server that has learnt nothing yet."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from corrected import Learning, draw_data
from learnt import MANIFEST, SPEC, State, report

from textseg.engine.build import build_network
from textseg.learning import reference, tuning
from textseg.learning.versions import Versions


@pytest.fixture(scope="session")
def state() -> State:
    """The state of a network with random weights."""
    torch.manual_seed(3)
    return build_network(SPEC).state_dict()


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, state: State) -> Iterator[Path]:
    """v0001 to v0003, all whole; v0003 serves. To be copied."""
    folder = tmp_path_factory.mktemp("published") / SPEC.name
    versions = Versions(folder, SPEC)
    for number in (1, 2, 3):
        versions.publish(state, {**MANIFEST, "threshold": number / 10}, report(f"Better than v000{number - 1}."))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def folder(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the three versions' folder; nothing waits for the disk, for no test cuts the power."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return Path(shutil.copytree(published, tmp_path / "model" / SPEC.name))


@pytest.fixture
def versions(folder: Path) -> Versions:
    """The three versions."""
    return Versions(folder, SPEC)


@pytest.fixture
def learning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Learning:
    """With few reference pictures and few drawn ones beside the corrections, so that a test takes seconds."""
    monkeypatch.setattr(reference, "PHANTOMS", 6)
    monkeypatch.setattr(reference, "SIZE", 160)
    monkeypatch.setattr(tuning, "REPLAYED", 6)
    return Learning(tmp_path)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn data set, see `draw_data`."""
    return draw_data(tmp_path_factory.mktemp("data"))
