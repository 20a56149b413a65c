"""Folders for uploads and masks on their way. What a killed server left there is cleared at the next start."""

import os
import shutil
import tempfile
from pathlib import Path

from textseg.data.store.durable import process_lives

PREFIX = "textseg-"


def temporary_folder() -> tempfile.TemporaryDirectory:
    """A new folder that is removed at the end of the `with`; its name says which process it belongs to."""
    return tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")


def clear_left_behind() -> None:
    """Remove the folders of processes that are gone: they may hold pictures."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}[0-9]*-*"):
        process = folder.name.removeprefix(PREFIX).partition("-")[0]
        if folder.stat().st_uid == os.getuid() and not process_lives(process):
            shutil.rmtree(folder, ignore_errors=True)
