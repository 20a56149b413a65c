"""What is open on the server, and how its addresses answer: on MONAI Label's own FastAPI app, with a small stub app."""

import json
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
import uvicorn
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException
from monailabel.config import settings as platform
from monailabel.interfaces.utils import app as served
from monailabel.utils.async_tasks import utils as async_tasks
from starlette.testclient import TestClient

from textseg.errors import OptionError
from textseg.server.routes import reload
from textseg.server.routes.opened import open_routes
from textseg.server.routes.platform import platform_router
from textseg.server.routes.proxy import archive_url
from textseg.server.routes.session import session_router
from textseg.server.routes.tasks import BatchInference, Training
from textseg.server.sessions import SafeSessions

FUZZ = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
CLOSED = ["/docs", "/model/c2fvl", "/scoring/dice", "/infer/wsi_v2/x", "/static/favicon.ico", "/favicon.ico", "/auth/"]
SLOW_TASK = '#!/bin/sh\necho "$@"\nexec sleep 60\n'


class StubTrainer:
    """Takes everything, and is half way."""

    def check(self, request: dict[str, Any]) -> None:
        if request.get("max_epochs") == 0:
            raise OptionError("max_epochs is 1 or more.")

    def stats(self) -> dict[str, Any]:
        return {"epoch": 3, "verdict": "kept v0000"}


class StubApp:
    """An app that says what was done to it."""

    def __init__(self, folder: Path, trainers: tuple[str, ...] = ("net",)) -> None:
        self._trainers = {name: StubTrainer() for name in trainers}
        self._infers: dict[str, Any] = {"net": None}
        self._batch_infer = print
        self._sessions = SafeSessions(str(folder / "sessions"))
        self.done: list[str] = []

    def sessions(self) -> SafeSessions:
        return self._sessions

    def info(self) -> dict[str, Any]:
        return {"name": "stub", "trainers": list(self._trainers)}

    def bundle_path(self, _: str) -> None:
        return None

    def server_mode(self, mode: bool) -> None:
        self.done.append(f"server_mode {mode}")

    def on_init_complete(self) -> None:
        from monailabel.app import app

        open_routes(app, [session_router(), platform_router()])

    def on_reloaded(self) -> None:
        self.done.append("on_reloaded")

    def close(self) -> None:
        self.done.append("close")


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubApp]:
    """The app in place, its folder, no tasks yet; MONAI Label's own routes are put back at the end."""
    from monailabel.app import app

    instance = StubApp(tmp_path)
    monkeypatch.setattr(platform, "MONAI_LABEL_APP_DIR", str(tmp_path))
    monkeypatch.setattr(served, "apps", {f"{tmp_path}{platform.MONAI_LABEL_STUDIES}": instance})
    for table in ("background_tasks", "background_processes", "background_executors"):
        monkeypatch.setattr(async_tasks, table, {})
    monkeypatch.setenv("PYTHONPATH", "")  # so that it is put back at the end
    monkeypatch.delenv("PYTHONPATH")
    before = app.router.routes, dict(app.exception_handlers)
    yield instance
    app.router.routes, app.exception_handlers = before
    app.openapi_schema = app.middleware_stack = None


@pytest.fixture
def client(stub: StubApp) -> Iterator[TestClient]:
    """MONAI Label's app, started; its routes are opened inside its lifespan."""
    from monailabel.app import app

    with TestClient(app, raise_server_exceptions=False) as started:
        yield started


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: TestClient) -> Iterator[TestClient]:
    """The client, with tasks that print what they were asked and go on until they are stopped."""
    program = tmp_path / "task"
    program.write_text(SLOW_TASK)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(program))
    yield client
    for executor in async_tasks.background_executors.values():
        executor.shutdown(wait=False, cancel_futures=True)
    threads = [thread for executor in async_tasks.background_executors.values() for thread in executor._threads]

    def ended() -> bool:
        Training().stop()
        BatchInference().stop()
        return not any(thread.is_alive() for thread in threads)

    eventually(ended)


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A DICOMweb archive, the studies of this server: a list of (method, path, headers, body) that it was asked."""
    asked: list[Any] = []

    class Archive(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            asked.append((self.command, self.path, dict(self.headers), body))
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\r\n[]\r\n0\r\n\r\n")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Archive)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    studies_are(monkeypatch, f"http://127.0.0.1:{server.server_port}/dicom-web/")
    yield asked
    server.shutdown()
    server.server_close()


def studies_are(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The server's studies lie there; the app stays the same one."""
    instance = next(iter(served.apps.values()))
    monkeypatch.setattr(platform, "MONAI_LABEL_STUDIES", address)
    monkeypatch.setitem(served.apps, f"{platform.MONAI_LABEL_APP_DIR}{address}", instance)


def eventually(asked: Callable[[], Any]) -> Any:
    """What `asked` answers as soon as it is true."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if answer := asked():
            return answer
        time.sleep(0.02)
    pytest.fail("it did not happen")


def refusal(answer: Any, status: int) -> str:
    """The sentence of a refusal."""
    assert answer.status_code == status, answer.text
    assert isinstance(answer.json()["detail"], str)
    return answer.json()["detail"]


# What is open


def test_only_the_apps_own_routes_are_open(client):
    assert client.get("/info/").json()["name"] == "stub"
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/info/", "/session/", "/train/{model}", "/batch/infer/{model}"} <= set(paths)
    assert not any(path.startswith(("/model", "/scoring", "/infer/wsi", "/activelearning")) for path in paths)
    for path in CLOSED:
        assert refusal(client.get(path), 404)
    assert refusal(client.put("/info/"), 405)


def test_opening_again_replaces_what_was_open(client):
    from monailabel.app import app

    count = len(app.routes)
    open_routes(app, [session_router(), platform_router()])
    assert len(app.routes) == count
    open_routes(app, [session_router()])
    assert client.get("/info/").status_code == 404
    assert "/info/" not in client.get("/openapi.json").json()["paths"]
    assert client.get("/session/x").status_code == 404


def test_an_app_of_ones_own_is_opened_before_it_starts(stub):
    app = FastAPI()
    app.get("/closed")(lambda: {})
    open_routes(app, [platform_router()])
    assert TestClient(app).get("/closed").status_code == 404
    assert TestClient(app).get("/info/").status_code == 200


def test_an_archive_that_is_away_is_told_by_info_too(client, stub):
    def away() -> None:
        raise requests.ConnectionError("refused")

    stub.info = away
    assert "archive" in refusal(client.get("/info/"), 503)


def test_the_page_says_how_to_connect(client):
    page = client.get("/", headers={"host": "viewer:8000<script>"}).text
    assert "<script" not in page
    assert "not a medical device" in page
    assert "http://testserver" in client.get("/").text


# Logs and the viewer


def test_the_log_is_shown_as_text_and_as_a_page_of_its_own(client, tmp_path):
    assert "no log" in refusal(client.get("/logs/"), 404)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "app.log").write_bytes(b"first\n\xff<script>alert(1)</script>\nlast\n")
    assert client.get("/logs/", params={"text": True, "lines": 1}).text == "last\n"
    page = client.get("/logs/", params={"refresh": 1})
    assert page.headers["content-type"].startswith("text/html")
    assert "first\n\N{REPLACEMENT CHARACTER}&lt;script&gt;" in page.text
    assert "<script" not in page.text and "//" not in page.text and 'content="3"' in page.text
    assert [client.get("/logs/", params={"lines": lines}).status_code for lines in (0, -1, 5001, "all")] == [422] * 4


def test_a_server_without_a_gpu_says_so(client, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "nvidia-smi" in refusal(client.get("/logs/gpu"), 404)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("", "text/html"),
        ("app-config.js", "text/javascript"),
        ("app.bundle.css", "text/css"),
        ("assets/favicon.ico", "image/"),
        ("031089e563a18ada8441.wasm", "application/wasm"),
        ("monai-label?StudyInstanceUIDs=1.2.3", "text/html"),
        ("viewer/1.2.840.10008", "text/html"),
        ("assets", "text/html"),
    ],
)
def test_the_viewer_gets_its_files(client, path, kind):
    answer = client.get(f"/ohif/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert answer.content


@pytest.mark.parametrize("path", ["gone.js", "assets/gone.png", "%2e%2e/%2e%2e/datastore.py", "..%2f..%2finfo.py"])
def test_the_viewer_has_no_other_files(client, path):
    refusal(client.get(f"/ohif/{path}"), 404)


# The archive


def test_a_server_on_a_folder_has_no_archive(client):
    assert "folder" in refusal(client.get("/proxy/dicom/qido/studies"), 404)


def test_requests_reach_the_archive_with_their_query_and_body(client, upstream, monkeypatch):
    monkeypatch.setattr(platform, "MONAI_LABEL_QIDO_PREFIX", "search")
    monkeypatch.setattr(platform, "MONAI_LABEL_WADO_PREFIX", "fetch")
    answer = client.get("/proxy/dicom/qido/studies?limit=2&PatientName=A%20B*")
    assert (answer.json(), answer.headers["content-length"]) == ([], "2")
    assert "transfer-encoding" not in answer.headers
    client.get("/proxy/dicom/qido/studies/1.2/metadata")
    client.get("/proxy/dicom/studies/1.2")
    sent = {"content-type": "multipart/related; boundary=x", "authorization": "Bearer of-this-server"}
    client.post("/proxy/dicom/stow/studies", content=b"--x--", headers=sent)
    assert [path for _, path, _, _ in upstream] == [
        "/dicom-web/search/studies?limit=2&PatientName=A%20B*",
        "/dicom-web/fetch/studies/1.2/metadata",
        "/dicom-web/studies/1.2",
        "/dicom-web/studies",
    ]
    method, _, headers, body = upstream[-1]
    received = {name.lower(): value for name, value in headers.items()}
    assert (method, body, received["content-type"]) == ("POST", b"--x--", sent["content-type"])
    assert "authorization" not in received and received["host"].startswith("127.0.0.1")


def test_the_archive_gets_its_own_login(client, upstream, monkeypatch):
    monkeypatch.setattr(platform, "MONAI_LABEL_DICOMWEB_USERNAME", "reader")
    monkeypatch.setattr(platform, "MONAI_LABEL_DICOMWEB_PASSWORD", "secret")
    client.get("/proxy/dicom/wado/studies")
    assert upstream[0][2]["Authorization"].startswith("Basic ")


def test_no_path_leads_out_of_the_archive(client, upstream):
    for path in ("%2e%2e/system", "wado/%2e%2e/%2e%2e/system", "wado/studies/%2e"):
        refusal(client.get(f"/proxy/dicom/{path}"), 422)
    assert upstream == []
    # Sent on as it is, "%2e%2e" (which is what is left of "%252e%252e") would become a step up.
    assert archive_url("http://pacs/web", "qido/%2e%2e/?x", "") == "http://pacs/web/%252e%252e/%3Fx"


def test_an_archive_that_is_away_is_told(client, monkeypatch):
    studies_are(monkeypatch, "http://127.0.0.1:1/dicom-web")
    answer = client.get("/proxy/dicom/qido/studies")
    assert "does not answer" in refusal(answer, 503)
    assert int(answer.headers["retry-after"]) > 0


# Tasks


def test_training_starts_once_tells_and_stops(tasks):
    assert "No Train" in refusal(tasks.get("/train/"), 404)
    assert tasks.delete("/train/").json() is None
    started = tasks.post("/train/net", json={"max_epochs": 2, "client_id": "me"}).json()
    assert (started["status"], started["request"]["max_epochs"]) == ("SUBMITTED", 2)
    assert "Already Running" in refusal(tasks.post("/train/net"), 429)  # its process is not there yet
    running = eventually(lambda: tasks.get("/train/", params={"check_if_running": True}).json().get("details"))
    assert '"model":"net"' in running[0]
    assert tasks.get("/train/").json()["train_stats"] == {"epoch": 3, "verdict": "kept v0000"}
    assert "Already Running" in refusal(tasks.post("/train/net", json={}), 429)
    assert "Already Running" in refusal(tasks.post("/train/"), 429)
    assert tasks.post("/train/net", params={"enqueue": True}).json()["status"] == "SUBMITTED"
    assert tasks.delete("/train/").json()["status"] == "STOPPED"
    assert len(tasks.get("/train/", params={"all": True}).json()) == 2


def test_all_models_are_trained_one_after_the_other(tasks, stub):
    stub._trainers["second"] = StubTrainer()
    params = {"net": {"epochs": 1}, "second": {"epochs": 2}, "client_id": "me"}
    started = tasks.post("/train/", json=params).json()
    told = {name: answer["result"]["request"] for name, answer in started.items()}
    assert {"model": "net", "epochs": 1, "client_id": "me"}.items() <= told["net"].items()
    assert told["second"]["epochs"] == 2
    assert "JSON object" in refusal(tasks.post("/train/", json={"net": 1}), 422)


def test_batch_inference_starts_and_stops(tasks):
    assert "net" in refusal(tasks.post("/batch/infer/other"), 404)
    assert tasks.post("/batch/infer/net", params={"images": "some"}).status_code == 422
    started = tasks.post("/batch/infer/net", params={"images": "unlabeled"}).json()
    assert (started["request"]["images"], started["request"]["save_label"]) == ("unlabeled", True)
    refusal(tasks.post("/batch/infer/net"), 429)
    eventually(lambda: tasks.get("/batch/infer", params={"check_if_running": True}).status_code == 200)
    assert tasks.delete("/batch/infer").json()["status"] == "STOPPED"


def test_what_cannot_be_started_starts_nothing(tasks, stub):
    assert "net" in refusal(tasks.post("/train/other"), 404)
    assert "--conf models" in refusal(tasks.post("/train/c2fvl-compact"), 409)
    assert "textseg train c2fvl " in refusal(tasks.post("/train/c2fvl"), 409)
    assert "1 or more" in refusal(tasks.post("/train/net", json={"max_epochs": 0}), 422)
    assert "1 or more" in refusal(tasks.post("/train/", json={"max_epochs": 0}), 422)
    assert "run_sync" in refusal(tasks.post("/train/net", params={"run_sync": True}), 422)
    for params in (
        {"model": "other"},
        {"bundle_path": "/tmp"},
        {"gpus": 1},
        {"gpus": "0\n"},
        {"x": "a" * 70_000},
        {"x": "\N{PARTY POPPER}" * 9000},
    ):
        refusal(tasks.post("/train/net", json=params), 422)
    deep = "[" * 30 + "]" * 30
    for body in (
        "[]",
        "{",
        "1",
        '{"x": NaN}',
        '{"x": 1e999}',
        '{"x": "\\ud800"}',
        f'{{"x": {deep}}}',
        "[" * 9000,
        b"\xff",
    ):
        refusal(tasks.post("/train/net", content=body), 422)
    stub._trainers.clear()
    assert "No model is trained here" in refusal(tasks.post("/train/"), 404)
    assert "No model is trained here" in refusal(tasks.post("/train/net"), 404)
    assert tasks.get("/train/").status_code == 404


# Reloading


MAIN = """
from pathlib import Path
from {module} import {name}

class MONAILabelApp(StubApp):
    pass

class New(MONAILabelApp):
    def __init__(self, app_dir, studies, conf):
        super().__init__(Path(app_dir))
        {inside}
"""


def write_main(folder: Path, inside: str) -> None:
    (folder / "main.py").write_text(MAIN.format(module=StubApp.__module__, name=StubApp.__name__, inside=inside))


def test_reloading_serves_a_new_app_and_closes_the_old_one(client, stub, tmp_path):
    write_main(tmp_path, "self.info = lambda: {'name': 'new'}")
    assert client.post("/reload").json() == {}
    assert client.get("/info/").json()["name"] == "new"
    assert stub.done[-1] == "close"
    assert served.app_instance().done == ["server_mode True", "on_reloaded"]


@pytest.mark.parametrize("inside", ["raise SystemError('no weights')", "self.on_reloaded = None"])
def test_an_app_that_cannot_be_built_leaves_the_old_one(client, stub, tmp_path, inside):
    write_main(tmp_path, inside)
    assert "goes on" in refusal(client.post("/reload"), 503)
    assert client.get("/info/").json()["name"] == "stub"
    assert "close" not in stub.done


def test_there_is_an_app_at_every_moment_of_a_reload(client, tmp_path, monkeypatch):
    building, built = threading.Event(), threading.Event()

    def build() -> StubApp:
        building.set()
        assert built.wait(20)
        return StubApp(tmp_path)

    monkeypatch.setattr(reload, "build_app", build)
    answers: list[Any] = []
    reloading = threading.Thread(target=lambda: answers.append(client.post("/reload")))
    reloading.start()
    assert building.wait(20)
    assert "already" in refusal(client.post("/reload"), 429)
    assert client.get("/info/").json()["name"] == "stub"
    built.set()
    reloading.join()
    assert answers[0].status_code == 200


# MONAI Label's own client, over a real connection


def test_the_stock_client_is_served(tasks, tmp_path):
    from monailabel.app import app

    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    port = eventually(lambda: server.started and server.servers[0].sockets[0].getsockname()[1])
    stock = MONAILabelClient(f"http://127.0.0.1:{port}", tmpdir=str(tmp_path))
    (tmp_path / "chest.png").write_bytes(b"pixels")
    made = stock.create_session(str(tmp_path / "chest.png"))
    assert stock.get_session(made["session_id"])["name"] == made["session_id"]
    assert stock.remove_session(made["session_id"])
    assert stock.info()["name"] == "stub"
    assert stock.train_status(check_if_running=True) is False
    assert stock.train_start("net", {"epochs": 1})["status"] in ("SUBMITTED", "RUNNING")
    with pytest.raises(MONAILabelClientException, match="Already Running"):
        stock.train_start("net", {})
    assert eventually(lambda: stock.train_status(check_if_running=True))
    assert stock.train_stop()["status"] == "STOPPED"
    assert requests.get(f"http://127.0.0.1:{port}/ohif/", timeout=10).ok
    server.should_exit = True
    thread.join(20)


# Anything at all


@FUZZ
@given(
    st.sampled_from(
        ["/ohif/", "/proxy/dicom/", "/proxy/dicom/wado/", "/train/", "/batch/infer/", "/logs/", "/session/"]
    ),
    st.one_of(st.text(max_size=60), st.sampled_from(["../../info.py", "a" * 3000, "\0", "a/./b", "//x", "%2e%2e/y"])),
    st.dictionaries(
        st.sampled_from(["lines", "html", "text", "refresh", "all", "check_if_running", "images", "run_sync", "image"]),
        st.text(max_size=6),
    ),
    st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
)
def test_no_request_breaks_the_server(client, upstream, path, rest, query, method):
    answer = client.request(method, path + quote(rest, errors="replace"), params=query)
    assert answer.status_code < 500 or answer.status_code == 503, (method, path, rest, query, answer.text)
    assert answer.status_code != 404 or json.loads(answer.text)["detail"]
