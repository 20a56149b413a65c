"""A real server in a process of its own on this machine, for simulations and measurements."""

import ctypes
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from textseg.errors import TextSegError

PARENT_DIED = 1  # PR_SET_PDEATHSIG of Linux


class ServerFailed(TextSegError):
    """A server that was started here did not come so far, or did not do what it was asked."""


@contextmanager
def own_server(
    app: Path, studies: Path, log: Path, settings: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen]]:
    """Its address and process, as soon as that is started. It ends with the `with`, and when this process dies.

    log: what it prints is added to that file. settings: `--conf`, key, value, and so on.
    """
    port = _free_port()
    command = [sys.executable, "-m", "monailabel.main", "start_server", "--app", str(app), "--studies", str(studies)]
    command += ["--host", "127.0.0.1", "--port", str(port), *settings]
    with log.open("a") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_end_with_parent)
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(30)


def _end_with_parent() -> None:
    """In the server's process: who is killed leaves nobody who writes into the folders of the next one."""
    ctypes.CDLL(None).prctl(PARENT_DIED, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
