"""A Hugging Face hub on this machine, as far as a download sees one: metadata in headers, large files elsewhere."""

import hashlib
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = (".bin", ".safetensors")


@dataclass(frozen=True)
class Sent:
    """A request and how many bytes of its body went out."""

    method: str
    path: str
    headers: dict[str, str]
    body: int


@dataclass
class Hub:
    """One repository. commits: commit -> file -> bytes; main: what that branch points at.

    cut: file -> offset where its bytes break off. stalled: it does not break off there, but waits and sets the event.
    lies: file -> other bytes that are sent. tags: file -> another hash that is told. ranges: whether it can go on in
    the middle. status: answer this to everything. plain: leave out what only a hub tells.
    """

    repository: str
    commits: dict[str, dict[str, bytes]]
    main: str
    cut: dict[str, int] = field(default_factory=dict)
    stalled: threading.Event | None = None
    lies: dict[str, bytes] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    ranges: bool = True
    status: int | None = None
    plain: bool = False
    sent: list[Sent] = field(default_factory=list)

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(_Handler):
            imitated = hub

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.released = threading.Event()
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def bodies(self, file: str) -> list[int]:
        """How many bytes of the file went out, request by request; redirects apart."""
        return [
            each.body for each in self.sent if each.method == "GET" and each.path.endswith(f"/{file}") and each.body
        ]


def tag_of(file: str, data: bytes) -> str:
    """What a hub calls the file's ETag: sha-256 of large ones, git's id of small ones."""
    if file.endswith(LARGE):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    imitated: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, prefix = self.imitated, f"/{self.imitated.repository}/resolve/"
        if hub.status:
            return self._say(hub.status, {})
        elsewhere = self.path.startswith("/elsewhere/")
        revision, _, file = self.path.removeprefix("/elsewhere/").removeprefix(prefix).partition("/")
        commit = hub.main if revision == "main" else revision
        data = hub.commits.get(commit, {}).get(file)
        if data is None or not (elsewhere or self.path.startswith(prefix)):
            return self._say(404, {"X-Error-Code": "EntryNotFound"})
        if elsewhere:
            return self._body(file, data, {"ETag": '"of the store"'})
        told = {"X-Repo-Commit": commit} if not hub.plain else {}
        tag = f'"{hub.tags.get(file) or tag_of(file, data)}"'
        if not file.endswith(LARGE):
            return self._body(file, data, {**told, "ETag": tag})
        # Another host by name, as the real one has its large files.
        told["Location"] = f"http://localhost:{hub.server.server_port}/elsewhere/{commit}/{file}"
        return self._say(302, {**told, "X-Linked-Etag": tag, "X-Linked-Size": str(len(data)), "ETag": '"pointer"'})

    def _body(self, file: str, data: bytes, headers: dict[str, str]) -> None:
        hub, wanted = self.imitated, self.headers.get("Range")
        data = hub.lies.get(file, data)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and hub.ranges else 0
        if start:
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        self._say(206 if start else 200, headers, data[start:], hub.cut.get(file, len(data)) - start, file)

    def _say(
        self, status: int, headers: dict[str, str], data: bytes = b"", until: int | None = None, file: str = ""
    ) -> None:
        hub = self.imitated
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        whole = until is None or until >= len(data)
        body = b"" if self.command == "HEAD" else data if whole else data[: max(until, 0)]
        hub.sent.append(Sent(self.command, self.path, dict(self.headers), len(body)))
        self.wfile.write(body)
        if self.command == "GET" and not whole:
            if hub.stalled:
                hub.stalled.set()
                hub.released.wait(30)
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass
