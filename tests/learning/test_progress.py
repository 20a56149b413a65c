"""A training that was killed does not show as running, whatever has its number since."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from textseg.data.store import durable
from textseg.learning.progress import FILE, STOPPED, TRAINING, Progress, ProgressFile

KILLED = """
import os, signal, sys
from pathlib import Path
from textseg.learning.progress import TRAINING, Progress, ProgressFile
ProgressFile(Path(sys.argv[1])).write(Progress(1, 5, state=TRAINING, process=os.getpid()))
os.kill(os.getpid(), signal.SIGKILL)
"""

WITHOUT_ITS_FIRST_THREAD = """
import ctypes, os, sys, threading, time
from pathlib import Path
from textseg.learning.progress import TRAINING, Progress, ProgressFile
ProgressFile(Path(sys.argv[1])).write(Progress(1, 5, state=TRAINING, process=os.getpid()))
threading.Thread(target=time.sleep, args=(60,)).start()
ctypes.CDLL(None).pthread_exit(None)
"""


def killed_training(folder: Path) -> subprocess.Popen:
    """A process that tells of its first epoch and is killed; its parent has not taken note of that yet."""
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


def has_number(folder: Path, number: int) -> None:
    """As if the process that told of the training had had the number of another one."""
    told = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps({**told, "process": number}))


@pytest.fixture
def thread() -> Iterator[int]:
    """The number of a thread of this process, which Linux counts with those of processes."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    time.sleep(0.05)  # Linux counts in hundredths of a second, and whatever comes next begins later
    yield thread.native_id
    end.set()
    thread.join()


def test_a_killed_training_is_stopped_though_another_process_or_thread_has_its_number(
    tmp_path: Path, thread: int
) -> None:
    killed_training(tmp_path).wait()
    for number in (os.getpid(), thread):
        has_number(tmp_path, number)
        told = ProgressFile(tmp_path).read()
        assert (told["state"], told["epoch"]) == (STOPPED, 1)


def test_a_killed_training_is_stopped_though_nobody_has_taken_note_of_its_end(tmp_path: Path) -> None:
    process = killed_training(tmp_path)
    try:
        assert ProgressFile(tmp_path).read()["state"] == STOPPED
    finally:
        process.wait()


def test_a_training_whose_threads_still_end_has_not_ended(tmp_path: Path) -> None:
    """Its locks are free when all of them are gone: whoever sees `stopped` may train again at once."""
    process = subprocess.Popen([sys.executable, "-c", WITHOUT_ITS_FIRST_THREAD, str(tmp_path)])
    stat, deadline = Path(f"/proc/{process.pid}/stat"), time.monotonic() + 30
    while ") Z " not in stat.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ") Z " in stat.read_text() and ProgressFile(tmp_path).read()["state"] == TRAINING
    process.kill()
    process.wait()
    assert ProgressFile(tmp_path).read()["state"] == STOPPED


def test_a_training_that_runs_shows_as_running(tmp_path: Path) -> None:
    ProgressFile(tmp_path).write(Progress(1, 5, state=TRAINING, process=os.getpid()))
    assert ProgressFile(tmp_path).read()["state"] == TRAINING


def test_a_note_of_an_earlier_version_goes_by_the_number_alone(tmp_path: Path) -> None:
    killed = killed_training(tmp_path)
    killed.wait()
    told = json.loads((tmp_path / FILE).read_text())
    told.pop("process_started", None)
    for number, state in ((os.getpid(), TRAINING), (killed.pid, STOPPED), (0, STOPPED), (-1, STOPPED)):
        (tmp_path / FILE).write_text(json.dumps({**told, "process": number}))
        assert ProgressFile(tmp_path).read()["state"] == state


@pytest.mark.parametrize("at", ["writing", "reading"])
def test_where_the_system_does_not_tell_when_a_process_began_its_number_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    with monkeypatch.context() as elsewhere:
        if at == "writing":
            elsewhere.setattr(durable, "PROCESSES", tmp_path / "none")
        ProgressFile(tmp_path).write(Progress(1, 5, state=TRAINING, process=os.getpid()))
    if at == "reading":
        monkeypatch.setattr(durable, "PROCESSES", tmp_path / "none")
    assert ProgressFile(tmp_path).read()["state"] == TRAINING
    has_number(tmp_path, 2**22 + 1)  # more than Linux gives
    assert ProgressFile(tmp_path).read()["state"] == STOPPED
