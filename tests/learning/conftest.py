"""Fixtures of learning: a server that has learnt nothing yet."""

from pathlib import Path

import pytest
from corrected import Learning

from textseg.learning import reference, retrain


@pytest.fixture
def learning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Learning:
    """With few reference pictures and few drawn ones beside the corrections, so that a test takes seconds."""
    monkeypatch.setattr(reference, "PHANTOMS", 10)
    monkeypatch.setattr(reference, "SIZE", 160)
    monkeypatch.setattr(retrain, "REPLAYED", 6)
    return Learning(tmp_path)
