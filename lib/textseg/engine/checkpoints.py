"""What a kill or a power cut leaves of a training: the checkpoint that it goes on from, and the weights of its best."""

import logging
import os
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import ignite.distributed as idist
import torch

from textseg.engine.distributed import is_first

RESUME = "resume"  # what their names begin with
logger = logging.getLogger(__name__)


def stored_checkpoints(folder: Path) -> list[Path]:
    """Those in a folder, the newest first."""
    return sorted(folder.glob(f"{RESUME}*.pt"), key=lambda path: path.stat().st_mtime, reverse=True)


def newest_whole(folder: Path) -> Path | None:
    """The newest one that is whole; every process gets the one that the first process finds.

    Damaged ones are told in the log and stay where they are. None where there is no whole one. Raises OSError for one
    that may not be opened.
    """
    name = _newest_whole(folder) if is_first() else ""
    name = idist.broadcast(name, src=0)
    return folder / name if name else None


def save_whole(content: dict[str, Any], path: Path) -> None:
    """`torch.save` at once: what was at `path` stays until all of the new one is on the disk. Raises OSError."""
    draft = path.with_name(f"{path.name}.part")
    torch.save(content, draft)
    sync_file(draft)
    draft.replace(path)


def sync_file(path: Path) -> None:
    """Make what was written to a file outlive a power cut."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _newest_whole(folder: Path) -> str:
    """Its name; "" where there is none."""
    stored = stored_checkpoints(folder)
    for path in stored:
        if _is_whole(path):
            return path.name
        logger.warning("%s is damaged and passed over: a kill or a power cut came while it was written", path)
    if stored:
        logger.warning("%s holds no whole checkpoint: the training begins anew", folder)
    return ""


def _is_whole(path: Path) -> bool:
    """Whether a file is as `torch.save` wrote it: a cut one has no table at its end, lost blocks have other sums."""
    with path.open("rb") as file:
        try:
            return ZipFile(file).testzip() is None
        except Exception:  # damage makes anything of the tables, and zipfile raises anything then
            return False
