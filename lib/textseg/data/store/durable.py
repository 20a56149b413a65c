"""Files that are whole or not there: a kill, a full disk or a power cut leaves the earlier file as it was."""

import fcntl
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from textseg.errors import StoreError

SCHEMA = 1
STALE_SECONDS = 600  # an unfinished file that old belongs to a process that is gone
PROCESSES, ENDED = Path("/proc"), "Z"
logger = logging.getLogger(__name__)


def iso_time(seconds: float | None = None) -> str:
    """A time as UTC to the millisecond, ISO 8601; None: now."""
    return datetime.fromtimestamp(time.time() if seconds is None else seconds, UTC).isoformat(timespec="milliseconds")


@contextmanager
def told_of_failure(what: str) -> Iterator[None]:
    """An OSError inside the `with` becomes a StoreError that says what was not done, and that nothing is lost."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"The server could not keep {what} ({error.strerror or error}). Nothing kept earlier is harmed. "
            "Make room on its disk, or give it the right to write there, then do it again."
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Only one thread of one process at a time is inside; a process that dies lets go."""
    make_folder(path.parent)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_whole(
    path: Path, data: bytes, unfinished: Path, modified: int | None = None, power_cuts: bool = True
) -> None:
    """Put `data` at `path` at once, through a file in the folder `unfinished` of the same disk.

    modified: the time that the file shall carry, in nanoseconds. power_cuts: it must outlive one; False for what can be
    missed. Raises OSError; then `path` is as it was.
    """
    with _draft(unfinished) as (file, draft):
        file.write(data)
        _finish(file, power_cuts)
        if modified is not None:
            os.utime(draft, ns=(modified, modified))
        make_folder(path.parent)
        draft.replace(path)
    if power_cuts:
        sync_folder(path.parent)


def copy_new(source: Path, path: Path, unfinished: Path) -> None:
    """Copy a file to `path`, where there must be none, at once and for good. Raises FileExistsError, OSError."""
    with _draft(unfinished) as (file, draft):
        with source.open("rb") as original:
            shutil.copyfileobj(original, file, 1 << 20)
        _finish(file, power_cuts=True)
        path.hardlink_to(draft)
        draft.unlink()
    sync_folder(path.parent)


@contextmanager
def _draft(unfinished: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """A new file, to be put in its place inside the `with`; it is gone when that fails."""
    make_folder(unfinished)
    draft = unfinished / f"{os.getpid()}-{uuid.uuid4().hex}"
    try:
        with draft.open("xb") as file:
            yield file, draft
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _finish(file: BinaryIO, power_cuts: bool) -> None:
    file.flush()
    if power_cuts:
        os.fsync(file.fileno())


def make_folder(folder: Path) -> None:
    """A folder with its parents, each of them there for good."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        sync_folder(each.parent)


def append_durably(path: Path, line: bytes) -> None:
    """Add a line at the end of a file; the caller holds its lock. A line that was cut by an earlier kill is taken away.

    Raises OSError; then the file is as it was.
    """
    make_folder(path.parent)
    new = not path.exists()
    with path.open("a+b", buffering=0) as file:
        end = _end_of_last_line(path)
        file.truncate(end)
        try:
            _write_all(file.fileno(), line.rstrip(b"\n") + b"\n")
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(end)
            raise
    if new:
        sync_folder(path.parent)


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _end_of_last_line(path: Path) -> int:
    """Where the last whole line ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for reach in (4096, size):
            start = max(0, size - reach)
            file.seek(start)
            found = file.read(size - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
    return 0


def sync_folder(folder: Path) -> None:
    """Make a folder's new and renamed entries outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def to_json(content: dict[str, Any]) -> bytes:
    """`content` with the schema of this version in front, as one line."""
    return json.dumps({"schema": SCHEMA, **content}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def from_json(data: bytes, where: str) -> dict[str, Any]:
    """What `to_json` wrote. Raises StoreError for a newer schema, ValueError for what is no such object."""
    content = json.loads(data.decode("utf-8", "surrogatepass"))
    if not isinstance(content, dict) or not isinstance(content.get("schema"), int):
        raise ValueError(f"{where} holds no object with a schema")
    if content["schema"] > SCHEMA:
        raise StoreError(
            f"{where} was written by a newer textseg (schema {content['schema']}; this one reads up to {SCHEMA}). "
            "Update textseg here; nothing was changed."
        )
    return content


def read_json(path: Path) -> dict[str, Any] | None:
    """A file that `write_whole` and `to_json` made; None where there is none or it is damaged, which is logged."""
    try:
        return from_json(path.read_bytes(), path.name)
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        logger.warning("%s is damaged and not used: %s", path, type(error).__name__)
        return None


def clear_unfinished(folder: Path, fresh: bool = False) -> None:
    """Take away what processes that are gone left unfinished; fresh: also what is only seconds old."""
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            old = time.time() - path.stat().st_mtime > STALE_SECONDS
            if path.is_file() and (old or (fresh and not process_lives(path.name.partition("-")[0]))):
                path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            logger.warning("%s cannot be taken away: %s", path, error)


def process_lives(process: str, started: str = "") -> bool:
    """True for the number of a process that runs on this machine; not of one that has ended and waits for its parent.

    started: `process_started` of the one that is meant, for its number may be another one's since (in a container they
    begin low after every restart); "" where nobody noted it: then whoever has the number counts.
    """
    try:
        number = int(process)
        os.kill(number, 0)
    except PermissionError:
        pass  # it is somebody else's
    except (OSError, ValueError, OverflowError):
        return False
    now, ended = _stat(number)
    return number > 0 and not ended and (not started or not now or now == started)


def process_started(process: int) -> str:
    """When a process began, as Linux counts it: no other one of its number shares that. "" where it is not told."""
    return _stat(process)[0]


def _stat(process: int) -> tuple[str, bool]:
    """When a process began, and whether it has ended, from fields 22, 3 and 20 of its `stat`.

    While threads of it are left it has not, whatever became of its first one: they hold its files and locks.
    """
    try:
        stat = (PROCESSES / str(process) / "stat").read_text(errors="replace")
        told = stat.rpartition(")")[2].split()  # from field 3 on: field 2, its name, may hold anything
        return told[19], told[0] == ENDED and int(told[17]) <= 1
    except (OSError, IndexError, ValueError):
        return "", False
