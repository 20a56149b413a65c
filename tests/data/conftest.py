"""Fixtures of the store's tests: a folder of studies with a store, on a disk that does not keep anyone waiting."""

from pathlib import Path

import pytest

from textseg.data.store.store import Store


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A folder of studies without a store."""
    folder = tmp_path / "studies"
    folder.mkdir()
    return folder


@pytest.fixture
def store(studies: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A new store; nothing waits for the disk, for no test cuts the power."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    return Store(studies)
