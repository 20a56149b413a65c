"""Folders and files for what is on its way. What a killed server left there is cleared at the next start."""

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from textseg.data.store.durable import process_lives

PREFIX = "textseg-"


def temporary_folder() -> tempfile.TemporaryDirectory:
    """A new folder that is removed at the end of the `with`; its name says which process it belongs to."""
    return tempfile.TemporaryDirectory(prefix=_own_prefix())


def temporary_file(suffix: str) -> Path:
    """A new empty file, which the caller removes."""
    with tempfile.NamedTemporaryFile(prefix=_own_prefix(), suffix=suffix, delete=False) as file:
        return Path(file.name)


def clear_left_behind() -> None:
    """Remove what belongs to processes that are gone: it may hold pictures."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}[0-9]*-*"):
        process = path.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(OSError):  # another server clears at the same time
            if path.lstat().st_uid != os.getuid() or process_lives(process):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _own_prefix() -> str:
    return f"{PREFIX}{os.getpid()}-"
