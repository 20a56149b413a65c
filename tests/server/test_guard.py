"""The server is closed by default: who gets in, and who is refused in which words."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.client import HTTPConnection

import pytest
import requests
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from monailabel.config import settings as stock
from pydantic import AnyHttpUrl

from serving import MEBIBYTE, ask, assert_refused, bare_app, serving
from textseg.server.caller import Caller, called_by, current_caller
from textseg.server.guard import Guard, guard_holds, secure
from textseg.server.guard_rules import GuardRules, plain_origin, rules_for

VIEWER = "http://viewer.local:3000"
SMALL = GuardRules(origins=(VIEWER,), names=frozenset({"xraybox"}), max_json=1 << 20, max_upload=3 << 20)


@pytest.fixture(scope="module")
def app() -> FastAPI:
    app = bare_app()
    secure(app, SMALL)
    return app


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with serving(app) as address:
        yield address


def host_and(name: bytes, value: str) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"127.0.0.1:8000"), (name, value.encode("latin-1"))]


# ---- callers


def test_every_answer_carries_the_id_that_the_route_knew(url: str) -> None:
    first, second = (requests.get(f"{url}/info/") for _ in range(2))
    assert first.json()["request_id"] == first.headers["X-Request-ID"] != second.headers["X-Request-ID"]
    assert first.json()["address"] == "127.0.0.1"
    assert current_caller().request_id == "-"


def test_a_caller_is_forgotten_after_the_answer() -> None:
    with called_by(Caller("abc", "127.0.0.1")):
        assert current_caller().request_id == "abc"
    assert current_caller().request_id == "-"


def test_another_machine_is_refused_and_told_how_to_open(url: str) -> None:
    answer = requests.get(f"{url}/info/", headers={"X-Forwarded-For": "10.0.0.5"})
    assert_refused(answer, 403, "10.0.0.5", "`--conf allow_remote true`", "without a password")
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", None])
def test_this_machine_gets_in(app: FastAPI, address: str | None) -> None:
    client = (address, 9) if address else None
    assert ask(app, client=client, server=("192.168.1.7", 8000)).status == 200


@pytest.mark.parametrize("address", ["192.168.1.7", "192.168.1.8", "::ffff:10.0.0.1", "2001:db8::1", "testclient", ""])
def test_no_other_address_or_name_of_a_socket_gets_in(app: FastAPI, address: str) -> None:
    assert_refused(ask(app, client=(address, 9), server=("192.168.1.7", 8000)), 403, "allow_remote")


def test_a_header_does_not_make_a_rebound_page_a_test_client(url: str) -> None:
    spoofed = {"Host": "attacker.example", "X-Forwarded-For": "testclient"}
    assert_refused(requests.get(f"{url}/info/", headers=spoofed), 403)


def test_a_test_client_gets_in(app: FastAPI) -> None:
    headers = [(b"host", b"testserver")]
    assert ask(app, headers=headers, client=("testclient", 50000), server=("testserver", 80)).status == 200


@pytest.mark.parametrize("rules", [GuardRules(allow_remote=True), GuardRules(login=True)])
def test_an_opened_server_answers_everybody_but_foreign_pages(rules: GuardRules) -> None:
    app = bare_app()
    secure(app, rules)
    assert ask(app, client=("10.0.0.5", 9)).status == 200
    assert_refused(ask(app, client=("10.0.0.5", 9), headers=host_and(b"origin", "http://evil.example")), 403)


# ---- web pages


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:8001", "", "http://[", "x://y:z"]
)
def test_a_page_of_another_origin_is_refused(app: FastAPI, method: str, origin: str) -> None:
    answer = ask(app, method=method, headers=host_and(b"origin", origin))
    assert_refused(answer, 403, "another origin", "MONAI_LABEL_CORS_ORIGINS")
    assert answer.all("access-control-allow-origin") == []


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8000", "https://127.0.0.1:8000", VIEWER, "HTTP://Viewer.Local:3000"]
)
def test_the_servers_own_pages_and_trusted_ones_are_answered(app: FastAPI, origin: str) -> None:
    assert ask(app, headers=host_and(b"origin", origin)).status == 200


@pytest.mark.parametrize(("host", "origin"), [(b"xraybox", "http://xraybox"), (b"localhost:443", "https://localhost")])
def test_ports_may_be_left_out_where_they_are_the_usual_ones(app: FastAPI, host: bytes, origin: str) -> None:
    assert ask(app, headers=[(b"host", host), (b"origin", origin.encode())]).status == 200


def test_two_origins_are_as_foreign_as_the_worse_one(app: FastAPI) -> None:
    both = [*host_and(b"origin", VIEWER), (b"origin", b"http://evil.example")]
    assert_refused(ask(app, headers=both), 403)


def test_a_trusted_page_may_ask_first_and_read_answers_and_refusals(url: str) -> None:
    asks = {"Origin": VIEWER, "Access-Control-Request-Method": "POST"}
    assert requests.options(f"{url}/infer/m", headers=asks).headers["access-control-allow-origin"] == VIEWER
    asked = requests.get(f"{url}/info/", headers={"Origin": VIEWER, "Sec-Fetch-Site": "cross-site"})
    large = requests.post(f"{url}/raw", data=2 * MEBIBYTE, headers={"Origin": VIEWER})
    broken = requests.get(f"{url}/broken", headers={"Origin": VIEWER})
    for answer, status in ((asked, 200), (large, 413), (broken, 500)):
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == VIEWER


@pytest.mark.parametrize(
    ("method", "fetch", "status"),
    [
        ("GET", {"site": "none"}, 200),
        ("GET", {"site": "same-origin", "mode": "cors"}, 200),
        ("GET", {"site": "cross-site", "mode": "navigate", "dest": "document"}, 200),
        ("GET", {"site": "same-site", "mode": "navigate"}, 200),
        ("GET", {"site": "cross-site", "mode": "navigate", "dest": "iframe"}, 403),
        ("GET", {"site": "cross-site", "mode": "no-cors", "dest": "image"}, 403),
        ("GET", {"site": "same-site", "mode": "no-cors"}, 403),
        ("GET", {"site": "cross-site"}, 403),
        ("POST", {"site": "cross-site", "mode": "navigate", "dest": "document"}, 403),
    ],
)
def test_a_link_may_be_followed_but_nothing_embedded(app: FastAPI, method: str, fetch: dict, status: int) -> None:
    headers = [(b"host", b"localhost:8000")]
    headers += [(f"sec-fetch-{name}".encode(), value.encode()) for name, value in fetch.items()]
    path = "/info/" if method == "GET" else "/train/"
    assert ask(app, path=path, method=method, headers=headers).status == status


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "localhost.", "127.0.0.1:1", "[::1]:80", "xraybox:80"])
def test_names_of_this_machine_are_answered(app: FastAPI, host: str) -> None:
    assert ask(app, headers=[(b"host", host.encode())]).status == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", "testserver"])
def test_a_name_that_somebody_pointed_here_is_refused(app: FastAPI, host: str) -> None:
    answer = ask(app, headers=[(b"host", host.encode()), (b"origin", f"http://{host}".encode())])
    assert_refused(answer, 403, host.partition(":")[0], "IP address")


@pytest.mark.parametrize("hosts", [[], [b""], [b"a b"], [b"a/b"], [b"u@localhost"], [b"localhost"] * 2, [b"::1"]])
def test_a_host_that_is_none_is_a_bad_request(app: FastAPI, hosts: list[bytes]) -> None:
    assert_refused(ask(app, headers=[(b"host", host) for host in hosts]), 400, "Host")


def test_with_a_login_a_server_may_have_any_name() -> None:
    app = bare_app()
    secure(app, GuardRules(login=True))
    assert ask(app, headers=[(b"host", b"xray.hospital.example")]).status == 200


def test_web_sockets_are_closed(app: FastAPI) -> None:
    sent = []

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/info/", "headers": [], "client": ("127.0.0.1", 1), "query_string": b""}
    asyncio.run(app(scope, None, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_settings_become_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MONAI_LABEL_CORS_ORIGINS", [AnyHttpUrl(VIEWER), AnyHttpUrl("https://a.example:443/x")])
    monkeypatch.setattr(stock, "MONAI_LABEL_AUTH_ENABLE", True)
    rules = rules_for(allow_remote=False)
    assert rules.origins == (VIEWER, "https://a.example")
    assert (rules.login, rules.allow_remote) == (True, False)
    assert socket.gethostname().lower() in rules.names
    assert plain_origin("HTTP://Viewer.Local:80/ohif") == "http://viewer.local"


# ---- bodies and targets


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize(("path", "mebibytes"), [("raw", 2), ("careless", 2), ("infer/m", 4), ("train/", 2)])
def test_a_body_that_is_too_large_is_refused_in_words(url: str, path: str, mebibytes: int, chunked: bool) -> None:
    start = b'--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n' + MEBIBYTE
    pieces = [start] + [MEBIBYTE] * (mebibytes - 1)
    data = iter(pieces) if chunked else b"".join(pieces)
    headers = {"Content-Type": "multipart/form-data; boundary=b"} if path == "infer/m" else None
    answer = requests.post(f"{url}/{path}", data=data, headers=headers)
    assert_refused(answer, 413, "too large", "3 MiB" if path == "infer/m" else "1 MiB", "Send less")
    assert answer.headers["connection"] == "close"


def test_a_client_that_sends_everything_before_it_listens_hears_the_refusal(url: str) -> None:
    host = url.removeprefix("http://")
    for method, path, headers in (("POST", "/raw", {}), ("PUT", "/info/", {"Origin": "http://evil.example"})):
        connection = HTTPConnection(host, timeout=20)
        connection.request(method, path, 24 * MEBIBYTE, headers)
        assert connection.getresponse().status in (403, 413)
        connection.close()


def test_large_pictures_may_be_uploaded(url: str) -> None:
    answer = requests.put(f"{url}/datastore/", files={"file": ("a.png", MEBIBYTE * 2)})
    assert answer.json() == {"size": 2 << 20}
    assert_refused(requests.put(f"{url}/datastore/", files={"file": ("a.png", MEBIBYTE * 4)}), 413, "3 MiB")


def test_a_length_too_long_to_be_read_is_too_large(app: FastAPI) -> None:
    assert_refused(ask(app, "/raw", "POST", host_and(b"content-length", "9" * 5000)), 413, "too large")


@pytest.mark.parametrize("length", ["-1", "1e3", "", "٣".encode().decode("latin-1"), "0x10", "1, 1"])
def test_a_length_that_is_none_is_a_bad_request(app: FastAPI, length: str) -> None:
    assert_refused(ask(app, "/raw", "POST", host_and(b"content-length", length)), 400, "Content-Length")


def test_one_who_asks_before_sending_is_told_before_sending(url: str) -> None:
    with raw_connection(url) as connection:
        connection.sendall(
            b"POST /raw HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999999\r\nExpect: 100-continue\r\n\r\n"
        )
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["raw", "datastore/", "careless"])
def test_the_server_outlives_clients_that_hang_up(url: str, path: str, caplog: pytest.LogCaptureFixture) -> None:
    method = b"PUT" if path == "datastore/" else b"POST"
    for body in (b"", b"x" * 70_000):
        with raw_connection(url) as connection:
            head = b"%s /%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            connection.sendall(head % (method, path.encode()) + b"Content-Length: 900000\r\n\r\n" + body)
    assert requests.get(f"{url}/info/").status_code == 200
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize("target", ["/info/%00", "/info/%0a", "/info/?image=a%00b", "/info/?image=a%0Db", "/%C2%85"])
def test_control_characters_in_an_address_are_refused(url: str, target: str) -> None:
    assert_refused(requests.get(url + target), 400, "control characters", "not a path")


def raw_connection(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


# ---- installation


def test_installed_again_it_replaces_and_never_stacks(caplog: pytest.LogCaptureFixture) -> None:
    app = bare_app()
    with serving(app) as url:
        assert requests.get(f"{url}/info/", headers={"Origin": "http://evil.example"}).status_code == 200
        for rules in (SMALL, SMALL, GuardRules()):
            secure(app, rules)
            handlers = len(app.exception_handlers)
            answer = requests.get(f"{url}/info/", headers={"Origin": VIEWER})
            assert (answer.status_code == 200) == (VIEWER in rules.origins)
        secure(app, GuardRules())
        assert len(app.exception_handlers) == handlers
        assert [each.cls for each in app.user_middleware] == [Guard]
        assert (
            ask(app).all("X-Request-ID") == [ask(app).json()["request_id"]][:0]
            or len(ask(app).all("X-Request-ID")) == 1
        )
        assert "access-control-allow-origin" not in requests.get(f"{url}/info/").headers


def test_it_can_be_installed_and_proved_while_the_app_starts() -> None:
    held = []

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        for rules in (GuardRules(allow_remote=True), GuardRules(login=True), GuardRules()):
            held.append(guard_holds(app, rules))
            secure(app, rules)
            held.append(guard_holds(app, rules))
            app.user_middleware, app.middleware_stack = [], None
        secure(app, SMALL)
        yield

    app = bare_app()
    app.router.lifespan_context = lifespan
    with serving(app) as url:
        assert requests.get(f"{url}/info/").headers["X-Request-ID"]
        assert requests.get(f"{url}/info/", headers={"Origin": "http://evil.example"}).status_code == 403
    assert held == [False, True] * 3


# ---- whatever comes

HEADER_NAMES = ["host", "origin", "content-length", "sec-fetch-site", "sec-fetch-mode", "authorization", "x-any"]
LIKELY = [
    "localhost",
    "null",
    "cross-site",
    "navigate",
    "0",
    "7",
    VIEWER,
    "http://127.0.0.1",
    "http://[::1",
    "Bearer x",
]
HEADER = st.tuples(
    st.sampled_from(HEADER_NAMES).map(str.encode),
    st.one_of(st.sampled_from(LIKELY), st.text(st.characters(max_codepoint=255), max_size=20)).map(
        lambda text: text.encode("latin-1")
    ),
)


@settings(max_examples=250, deadline=None)
@given(
    headers=st.lists(HEADER, max_size=6),
    path=st.one_of(st.just("/info/"), st.text(max_size=12).map(lambda text: f"/{text}")),
    query=st.binary(max_size=12),
    method=st.sampled_from(["GET", "POST", "OPTIONS", "FOO"]),
    client=st.sampled_from(["127.0.0.1", "10.0.0.5", "::1", "strange", ""]),
)
def test_anything_gets_one_answer_in_words(
    app: FastAPI, headers: list, path: str, query: bytes, method: str, client: str
):
    answer = ask(app, path, method, headers, (client, 9), query=query)
    assert answer.starts == 1
    assert len(answer.all("X-Request-ID")) == 1
    assert answer.status < 500
    if answer.status >= 400:
        assert answer.json()["detail"]
    else:
        assert client in ("127.0.0.1", "::1")
        assert {value.lower() for name, value in headers if name == b"origin"} <= {VIEWER.encode(), b"http://127.0.0.1"}
