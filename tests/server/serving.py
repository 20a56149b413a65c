"""A small app like MONAI Label's, reached over real HTTP or, where no HTTP client goes, in this process."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import requests
import uvicorn
from fastapi import FastAPI, Form, Request, UploadFile
from fastapi.middleware import Middleware
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import StreamingResponse

from textseg.errors import PromptError
from textseg.server.caller import current_caller
from textseg.server.http_errors import told_to_the_client

SECRET = "left lower lobe of Mrs Smith"
MEBIBYTE = b"x" * (1 << 20)
Headers = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What an app sent: one status, one set of headers, the whole body; starts counts how often it began."""

    status: int
    headers: Headers
    body: bytes
    starts: int

    def json(self) -> Any:
        """The body read as JSON."""
        return json.loads(self.body)

    def all(self, name: str) -> list[str]:
        """Every value of one header."""
        return [value.decode() for key, value in self.headers if key.decode().lower() == name.lower()]


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of `app`, served by uvicorn in a thread, which takes X-Forwarded-For from this machine."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    assert server.started
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)


def ask(
    app: Any,
    path: str = "/info/",
    method: str = "GET",
    headers: Headers | None = None,
    client: tuple[str, int] | None = ("127.0.0.1", 9),
    server: tuple[str, int] | None = ("127.0.0.1", 80),
    query: bytes = b"",
    body: bytes = b"",
) -> Answer:
    """One request straight into the app; `headers` in place of a plain Host."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "replace"),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"127.0.0.1")] if headers is None else headers,
        "client": client,
        "server": server,
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    starts = [message for message in sent if message["type"] == "http.response.start"]
    pieces = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(starts[0]["status"], list(starts[0]["headers"]), pieces, len(starts))


def bare_app() -> FastAPI:
    """Routes like MONAI Label's, and MONAI Label's CORS for everybody."""
    everybody = Middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_methods=["*"])
    app = FastAPI(middleware=[everybody])

    @app.get("/info/")
    def info() -> dict[str, str]:
        return {"request_id": current_caller().request_id, "address": current_caller().address}

    @app.post("/infer/{model}")
    def infer(model: str, params: str = Form("{}")) -> dict[str, int]:
        return {"options": len(json.loads(params))}

    @app.put("/datastore/")
    def upload(file: UploadFile) -> dict[str, int]:
        return {"size": len(file.file.read())}

    @app.post("/train/")
    def train(options: dict, limit: int = 0) -> dict[str, int]:
        return {"options": len(options)}

    @app.post("/careless")
    async def careless(request: Request) -> dict[str, str]:
        try:
            await request.body()
        except Exception:
            return {"all": "well"}
        return {"all": "well"}

    @app.post("/raw")
    async def raw(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    @app.get("/broken")
    def broken() -> None:
        try:
            int(SECRET)
        except ValueError as error:
            raise KeyError(SECRET) from error

    @app.get("/own_file")
    def own_file(request: Request) -> None:
        json.loads("{cut")

    @app.get("/cut")
    def cut() -> StreamingResponse:
        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError(SECRET)

        return StreamingResponse(pieces())

    @app.get("/prompt")
    def prompt() -> None:
        with told_to_the_client():
            raise PromptError("Write it like this.")

    return app


def assert_refused(answer: requests.Response | Answer, status: int, *words: str) -> None:
    """One sentence with these words, and the request's id in it and beside it."""
    found = answer.status_code if isinstance(answer, requests.Response) else answer.status
    assert found == status
    told = answer.json()
    assert set(told) == {"detail", "request_id"}
    assert re.fullmatch("[0-9a-f]{12}", told["request_id"])
    assert isinstance(told["detail"], str)
    assert [word for word in words if word not in told["detail"]] == []
    ids = [answer.headers["X-Request-ID"]] if isinstance(answer, requests.Response) else answer.all("X-Request-ID")
    assert ids == [told["request_id"]]
