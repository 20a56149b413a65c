"""Folders for uploads and masks on their way. What a killed server left there is cleared at the next start."""

import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "textseg-"


def temporary_folder() -> tempfile.TemporaryDirectory:
    """A new folder that is removed at the end of the `with`; its name says which process it belongs to."""
    return tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")


def clear_left_behind() -> None:
    """Remove the folders of processes that are gone: they may hold pictures."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}[0-9]*-*"):
        process = folder.name.removeprefix(PREFIX).partition("-")[0]
        if process.isdigit() and folder.stat().st_uid == os.getuid() and not _lives(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True
