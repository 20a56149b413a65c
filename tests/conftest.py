"""What all tests share: the folder of public cases beside the repository, and patience with a busy machine."""

from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("textseg", deadline=None)
settings.load_profile("textseg")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder `shared` beside the repository; the test is skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip("../shared is not here")
    return folder
