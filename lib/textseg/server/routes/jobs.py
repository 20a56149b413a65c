"""Work that MONAI Label does in a process of its own: what may be asked of it, started, asked after and stopped."""

import json
import os
import re
import threading
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Any

import psutil
from fastapi import Depends, HTTPException, Request
from monailabel.utils.async_tasks.task import AsyncTask
from monailabel.utils.async_tasks.utils import processes, tasks

from textseg.errors import OptionError
from textseg.server.http_errors import told_to_the_client
from textseg.server.params import read_params
from textseg.server.routes.proxy import archive_asked
from textseg.text.hints import shown

MAX_PARAMS = 64 * 1024  # letters as they travel on a command line, which takes 128 KiB
MAX_DEPTH = 20
STARTING_SECONDS = 60  # a task whose process is not there after so long waits for another one, or never begins
GPUS = re.compile(r"[A-Za-z0-9,/_-]*")  # numbers or names for CUDA_VISIBLE_DEVICES


async def sent_params(request: Request) -> dict[str, Any] | None:
    """The JSON object in the request's body, of a size and depth that a task can be given; None for no body."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_PARAMS:
            raise HTTPException(422, f"The params are longer than {MAX_PARAMS // 1024} KiB. Send less.")
    if body.strip() in (b"", b"null"):
        return None
    with told_to_the_client():
        params = read_params(body.decode("utf-8", errors="replace"))
        _check_travels(params)
    return params


Params = Annotated[dict[str, Any] | None, Depends(sent_params)]


def check_params(params: Mapping[str, Any], model: str) -> None:
    """Raises OptionError for what would start another task than the one that was asked for."""
    if params.get("model", model) != model:
        raise OptionError(f"The params name another model, {shown(params['model'], 60)}, than the address, {model}.")
    if "bundle_path" in params:
        raise OptionError("`bundle_path` cannot be set by a client: it names a folder with programs.")
    gpus = params.get("gpus") or "all"
    if not isinstance(gpus, str) or not GPUS.fullmatch(gpus):
        raise OptionError(f'gpus is "all" or numbers with commas, like "0,1", not {shown(gpus, 60)}.')


def check_not_sync(run_sync: bool) -> None:
    """Raises OptionError for a request that would last as long as its task."""
    if run_sync:
        raise OptionError("`run_sync` is not possible here: start the task without it and ask for its status.")


class Tasks:
    """The tasks of one kind. `method` is MONAI Label's name for it."""

    method = ""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def status(self, all: bool = False, check_if_running: bool = False) -> Any:
        """The last task, the one that is running, or all of them; 404 when there is none."""
        try:
            found, told = AsyncTask.status(self.method, all, check_if_running)
        except (StopIteration, IndexError, RuntimeError):  # it ended while it was looked for
            found, told = None, f"No {self.method.capitalize()} Tasks are currently Running"
        if found is None:
            raise HTTPException(404, told)
        return [_copy(task) for task in found] if isinstance(found, list) else _copy(found)

    def stop(self) -> Any:
        """Stop the task that is running and tell what became of it; None when none is."""
        for _ in range(3):
            try:
                task = AsyncTask.stop(self.method)
                return task and _copy(task)
            except (psutil.Error, StopIteration, IndexError):  # a process ended by itself meanwhile: look again
                continue
        return None

    def check_free(self) -> None:
        """Raises HTTPException 429 when a task is running, or has been taken and its process is not there yet."""
        last = (tasks(self.method) or [{}])[-1]
        starting = last.get("status") == "SUBMITTED" and _age(last) < STARTING_SECONDS
        if starting or processes(self.method):
            raise HTTPException(429, f"{self.method.capitalize()} Task is Already Running. Wait for it, or stop it.")

    def begin(self, requests: Collection[Mapping[str, Any]], enqueue: bool = False) -> list[dict[str, Any]]:
        """Start a task for each request, one after the other. enqueue: also behind one that is running."""
        with self._lock, archive_asked():
            if not enqueue:
                self.check_free()
            os.environ.setdefault("PYTHONPATH", "")  # MONAI Label reads it without asking whether it is there
            # MONAI Label's own look at running tasks is passed over: it does not see one that is just starting.
            return [_copy(AsyncTask.run(self.method, {}, dict(each), enqueue=True)[0]) for each in requests]


def _check_travels(params: Mapping[str, Any]) -> None:
    """Raises OptionError for params that could not be given to a process or told in a reply."""
    try:
        letters = len(json.dumps(params, allow_nan=False))
    except ValueError as error:  # 1e999 is read as infinite
        raise OptionError("The params hold a number that is too large.") from error
    if letters > MAX_PARAMS:
        raise OptionError(f"The params are longer than {MAX_PARAMS // 1024} KiB. Send less.")
    if _is_deeper(params, MAX_DEPTH):
        raise OptionError(f"The params are nested more than {MAX_DEPTH} levels deep. Send a plain JSON object.")


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return bool(inner) and (levels == 0 or any(_is_deeper(each, levels - 1) for each in inner))


def _age(task: Mapping[str, Any]) -> float:
    """Seconds since a task was taken."""
    return (datetime.now() - datetime.strptime(task["start_ts"], "%Y-%m-%d %H:%M:%S")).total_seconds()


def _copy(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task as it is now: the thread that runs it writes into it while the reply is made."""
    return {key: list(value) if key == "details" else value for key, value in dict(task).items()}
