"""The real server is closed by default, and its log keeps prompts to itself."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from monailabel.client import MONAILabelClient

from harness import Server
from realm_server import PASSWORD, USER, RealmServer, new_key, realm_serving
from textseg.data.sample_studies import write_sample_studies
from textseg.data.store.store import Store
from textseg.registry import DEFAULT_MODEL

PROMPT = "Unilateral pulmonary infection, one infected area, lower left lung"
ELSEWHERE = {"X-Forwarded-For": "10.0.0.5"}  # as a reverse proxy on this machine tells it


@pytest.mark.parametrize(
    "path", [f"model/{DEFAULT_MODEL}", "scoring/", "docs", "static/favicon.ico", "infer/wsi/x", "x"]
)
def test_what_is_not_on_the_list_is_not_there(server: Server, path: str) -> None:
    answer = requests.get(f"{server.url}/{path}")
    assert answer.status_code in (404, 405)
    assert answer.json()["detail"] and answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_another_machine_is_told_how_to_be_let_in(server: Server) -> None:
    answer = requests.get(f"{server.url}/info/", headers=ELSEWHERE)
    assert answer.status_code == 403 and "--conf allow_remote true" in answer.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
def test_another_web_pages_requests_are_refused(server: Server, method: str) -> None:
    answer = requests.request(method, f"{server.url}/datastore/", headers={"Origin": "http://elsewhere.example"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_prompts_are_not_in_the_log_and_every_line_has_its_request(server: Server, tmp_path: Path) -> None:
    _, reply = server.infer(tmp_path, "xray_alpha", prompt=PROMPT)
    mask, _ = server.client(tmp_path).infer(DEFAULT_MODEL, "xray_alpha", {"prompt": PROMPT})
    names = [{"name": "lower left pneumonia", "idx": 1}]
    server.client(tmp_path).save_label("xray_alpha", mask, params={"label_info": names})
    refused = server.post("xray_alpha", json.dumps({"prompt": "fractured clavicle in Mr Confidential"}))
    log = server.log.read_text()
    assert PROMPT not in log and "Confidential" not in log and "lower left" not in log
    assert f"[{reply['request_id']}]" in log and f"[{refused.json()['request_id']}]" in log
    lines = [line for line in log.splitlines() if line.startswith("[20") and "Ready:" not in line]
    after_start = lines[next(i for i, line in enumerate(lines) if "startup complete" in line) :]
    assert all(re.search(r" - \[([0-9a-f]{12}|-)\] ", line) for line in after_start)


@pytest.fixture
def realm() -> Iterator[RealmServer]:
    """A login server."""
    with realm_serving(new_key()) as running:
        yield running


def test_with_the_login_on_a_valid_token_opens_and_nothing_else_does(
    start_server: Callable[..., Server], realm: RealmServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", "true")
    monkeypatch.setenv("MONAI_LABEL_AUTH_REALM_URI", realm.url)
    studies = tmp_path / "studies"
    write_sample_studies(studies)
    own = start_server(studies)
    client = MONAILabelClient(own.url, tmpdir=str(tmp_path), client_id="ann")
    assert client.auth_enabled()
    for token in ("", "nonsense", realm.token(exp=1), realm.token(key=new_key())):
        assert requests.get(f"{own.url}/info/", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    client.update_auth(client.auth_token(USER, PASSWORD))
    assert client.info()["models"]
    _, reply = client.infer(DEFAULT_MODEL, "xray_alpha", {"prompt": PROMPT})
    assert reply["prompt"] == PROMPT
    assert Store(studies).history("xray_alpha").last.user == USER
    elsewhere = requests.get(f"{own.url}/info/", headers={**ELSEWHERE, "Authorization": f"Bearer {realm.token()}"})
    assert elsewhere.status_code == 200
    for path in ("reload", f"train/{DEFAULT_MODEL}"):
        refused = requests.post(f"{own.url}/{path}", headers={"Authorization": f"Bearer {realm.token()}"}, json={})
        assert refused.status_code == 403 and "monailabel-admin" in refused.json()["detail"]
