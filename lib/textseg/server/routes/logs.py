"""/logs: the end of the server's log, as text or as a page that needs nothing but itself."""

import html as markup
import shutil
import subprocess
from collections import deque
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC

MAX_LINES = 5000
MIN_REFRESH, MAX_REFRESH = 3, 3600  # seconds
GPU_SECONDS = 30
# No script: the box is turned round, so that it opens at its end.
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}<title>Log</title><style>
body {{ margin: 0 }} div {{ display: flex; flex-direction: column-reverse; height: 100vh; overflow: auto }}
pre {{ margin: 1em; white-space: pre-wrap; overflow-wrap: anywhere }}
</style></head><body><div><pre>{text}</pre></div></body></html>
"""
POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def logs_router() -> APIRouter:
    """GET /logs/ and /logs/gpu, for administrators."""
    admin = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))
    router = APIRouter(prefix="/logs", tags=["Others"], dependencies=[admin])
    router.add_api_route("/", read_log, summary="Get Logs", response_class=Response)
    router.add_api_route("/gpu", read_gpu, summary="Get GPU Info (nvidia-smi)", response_class=PlainTextResponse)
    return router


def read_log(
    lines: Annotated[int, Query(ge=1, le=MAX_LINES)] = 300,
    html: bool = True,
    text: bool = False,
    refresh: Annotated[int, Query(ge=0, le=MAX_REFRESH)] = 0,
) -> Response:
    """The last `lines` of the log; as a page unless `text` is asked for, read anew every `refresh` seconds."""
    try:
        with (Path(settings.MONAI_LABEL_APP_DIR) / "logs" / "app.log").open(encoding="utf-8", errors="replace") as file:
            end = "".join(deque(file, lines))
    except OSError as error:
        raise HTTPException(404, "There is no log file: this server writes none, or to another place.") from error
    if text or not html:
        return PlainTextResponse(end)
    seconds = max(refresh, MIN_REFRESH) if refresh else 0
    again = f'<meta http-equiv="refresh" content="{seconds}">' if seconds else ""
    return HTMLResponse(PAGE.format(refresh=again, text=markup.escape(end)), headers=POLICY)


def read_gpu() -> PlainTextResponse:
    """What nvidia-smi says."""
    if shutil.which("nvidia-smi") is None:
        raise HTTPException(404, "There is no nvidia-smi on this server: it has no NVIDIA GPU, or no driver for it.")
    try:
        done = subprocess.run(["nvidia-smi"], stdout=subprocess.PIPE, timeout=GPU_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HTTPException(503, "nvidia-smi does not answer.", {"Retry-After": "30"}) from error
    return PlainTextResponse(done.stdout.decode("utf-8", errors="replace"))
