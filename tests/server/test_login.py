"""MONAI Label's login works: a realm's tokens get in, all others are told why not, by its routes and its own client."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Depends, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from monailabel.client import MONAILabelClient
from monailabel.config import settings as stock
from monailabel.endpoints import login as stock_login
from monailabel.endpoints.user.auth import DEFAULT_USER, RBAC, User

from realm_server import PASSWORD, USER, RealmServer, new_key, public_text, realm_serving
from serving import Answer, ask, assert_refused, serving
from textseg.server.guard import secure
from textseg.server.guard_rules import GuardRules
from textseg.server.login import COOKIE, login_router
from textseg.server.realm import Realm, RealmUnreachable
from textseg.server.routes.login_form import LONGEST, login_form_router

KEY, OTHER_KEY = new_key(), new_key()


def app_with_login() -> FastAPI:
    """Routes guarded by MONAI Label's own roles; its login routes come second."""
    app = FastAPI()
    app.include_router(login_router())
    app.include_router(stock_login.router)
    app.include_router(login_form_router())

    @app.api_route("/textseg/", methods=["GET", "POST"])
    async def page(user: User = Depends(RBAC(stock.MONAI_LABEL_AUTH_ROLE_USER))) -> User:  # noqa: B008
        return user

    @app.get("/info/")
    async def info(user: User = Depends(RBAC(stock.MONAI_LABEL_AUTH_ROLE_USER))) -> User:  # noqa: B008
        return user

    @app.get("/train/")
    async def train(user: User = Depends(RBAC(stock.MONAI_LABEL_AUTH_ROLE_ADMIN))) -> User:  # noqa: B008
        return user

    @app.get("/open")
    async def open_to_all() -> dict:
        return {}

    secure(app, GuardRules(login=True))
    return app


@pytest.fixture
def realm(monkeypatch: pytest.MonkeyPatch) -> Iterator[RealmServer]:
    with realm_serving(KEY) as server:
        monkeypatch.setattr(stock, "MONAI_LABEL_AUTH_ENABLE", True)
        monkeypatch.setattr(stock, "MONAI_LABEL_AUTH_REALM_URI", server.url)
        yield server


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FastAPI, str]]:
    app = app_with_login()
    with serving(app) as address:
        yield app, address


@pytest.fixture
def url(served: tuple[FastAPI, str], realm: RealmServer) -> str:
    """One server for all tests: closed anew, it has forgotten the realm of the test before."""
    secure(served[0], GuardRules(login=True))
    return served[1]


def get(url: str, token: str, path: str = "info/") -> requests.Response:
    return requests.get(f"{url}/{path}", headers={"Authorization": f"Bearer {token}"})


def bearing(app: FastAPI, token: str, path: str = "/info/") -> Answer:
    """As `get`, without a server."""
    return ask(app, path, headers=[(b"host", b"localhost"), (b"authorization", f"Bearer {token}".encode())])


def test_a_token_of_the_realm_gets_in_and_the_key_is_fetched_once(url: str, realm: RealmServer) -> None:
    for algorithm in ("RS256", "RS384", "RS512"):
        answer = get(url, realm.token(algorithm, email="ann@example.org"))
        assert answer.status_code == 200, answer.text
        assert answer.json()["username"] == USER
        assert answer.json()["email"] == "ann@example.org"
    assert get(url, realm.token(), "auth/token/valid").json()["roles"] == ["monailabel-user"]
    assert realm.fetched == 1


def test_a_token_need_not_name_its_issuer_and_may_name_the_realms_public_address(url: str, realm: RealmServer) -> None:
    realm.issuer = "https://login.example.org/realms/r"
    for issuer in (None, realm.url, realm.url + "/", realm.issuer):
        assert get(url, realm.token(iss=issuer)).status_code == 200


def test_without_a_token_one_is_told_to_log_in(url: str) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer "}):
        answer = requests.get(f"{url}/info/", headers=headers)
        assert_refused(answer, 401, "log in")
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "bad",
    [
        lambda realm: realm.token(key=OTHER_KEY),
        lambda realm: realm.token(iss="https://evil.example/realms/r"),
        lambda realm: realm.token(iss=["x"]),
        lambda realm: realm.token(exp=-1),
        lambda realm: realm.token(exp="tomorrow"),
        lambda realm: realm.token(exp=None),
        lambda realm: realm.token("PS256"),
        lambda realm: realm.token("ES256", key=ec.generate_private_key(ec.SECP256R1())),
        lambda realm: realm.token("HS256", key="guessed" * 8),
        lambda realm: realm.forged("HS256"),
        lambda realm: realm.forged("none"),
        lambda realm: realm.token()[:-4] + "AAAA",
        lambda realm: realm.token().rpartition(".")[0] + ".",
        lambda realm: realm.token(preferred_username=None, sub=None),
        lambda realm: "not a token",
        lambda realm: "W1tb" * 12_000 + ".e30.x",
    ],
)
def test_any_other_token_is_refused_in_words(realm: RealmServer, bad: Callable[[RealmServer], str]) -> None:
    app = app_with_login()
    for path in ("/info/", "/auth/token/valid"):
        answer = bearing(app, bad(realm), path)
        assert_refused(answer, 401, "login")
        assert answer.all("WWW-Authenticate") == ["Bearer"]


def test_an_expired_login_is_called_expired(url: str, realm: RealmServer) -> None:
    assert_refused(get(url, realm.token(exp=1)), 401, "expired", "log in again")


@pytest.mark.parametrize("access", [None, {}, {"roles": None}, {"roles": "monailabel-user"}, {"roles": [7]}, [], "x"])
def test_who_has_no_role_is_told_which_one_is_missing(realm: RealmServer, access: object) -> None:
    assert_refused(bearing(app_with_login(), realm.token(realm_access=access)), 403, '"monailabel-user"')


def test_a_user_is_no_administrator(url: str, realm: RealmServer) -> None:
    assert_refused(get(url, realm.token(), "train/"), 403, '"monailabel-admin"')


def test_a_realm_that_is_away_is_told_and_asked_again(url: str, realm: RealmServer) -> None:
    realm.status = 500
    answer = get(url, realm.token())
    assert_refused(answer, 503, "cannot be reached", "MONAI_LABEL_AUTH_REALM_URI")
    assert int(answer.headers["Retry-After"]) > 0
    realm.status = 200
    assert get(url, realm.token()).status_code == 200
    realm.status = 500
    assert get(url, realm.token()).status_code == 200


@pytest.mark.parametrize("public", ["", "bm90IGEga2V5", public_text(ec.generate_private_key(ec.SECP256R1()))])
def test_a_realm_without_an_rsa_key_lets_nobody_in(realm: RealmServer, public: str) -> None:
    realm.public = public or None
    realm.status = 200 if public else 404
    assert_refused(bearing(app_with_login(), realm.token()), 503, "login server")


def test_others_are_answered_while_the_realm_keeps_one_waiting(url: str, realm: RealmServer) -> None:
    realm.may_answer.clear()
    answers: list[int] = []
    waiting = [threading.Thread(target=lambda: answers.append(get(url, realm.token()).status_code)) for _ in range(3)]
    for thread in waiting:
        thread.start()
    assert requests.get(f"{url}/open", timeout=5).status_code == 200
    assert answers == []
    realm.may_answer.set()
    for thread in waiting:
        thread.join(10)
    assert answers == [200] * 3
    assert realm.fetched == 1


def test_a_new_key_is_taken_but_bad_tokens_do_not_ask_for_it_all_the_time(realm: RealmServer) -> None:
    now = [1000.0]
    known = Realm(clock=lambda: now[0])
    assert known.claims(realm.token())["preferred_username"] == USER
    now[0] += 61
    realm.key = OTHER_KEY
    assert known.claims(realm.token())["preferred_username"] == USER
    assert realm.fetched == 2
    for wait, fetched in ((1, 2), (58, 2), (2, 3), (1, 3)):
        now[0] += wait
        with pytest.raises(jwt.InvalidSignatureError):
            known.claims(realm.token(key=KEY))
        assert realm.fetched == fetched
    now[0] += 61
    realm.status = 503
    with pytest.raises(jwt.InvalidSignatureError):
        known.claims(realm.token(key=KEY))
    assert known.claims(realm.token())


def test_two_apps_do_not_share_a_key(realm: RealmServer) -> None:
    Realm().claims(realm.token())
    realm.status = 500
    with pytest.raises(RealmUnreachable):
        Realm().claims(realm.token())


# ---- logging in


def test_monai_labels_own_client_logs_in(url: str, tmp_path: Path) -> None:
    client = MONAILabelClient(url, tmpdir=str(tmp_path))
    assert client.auth_enabled()
    assert not client.auth_valid_token()
    client.update_auth(client.auth_token(USER, PASSWORD))
    assert client.auth_valid_token()
    assert client.info()["username"] == USER


def test_a_wrong_password_is_told(url: str, caplog: pytest.LogCaptureFixture) -> None:
    answer = requests.post(f"{url}/auth/token", data={"username": USER, "password": "wrong one"})
    assert_refused(answer, 401, "password", "try again")
    assert "wrong one" not in caplog.text + answer.text


@pytest.mark.parametrize(("status", "error"), [(500, "x"), (429, "x"), (200, "invalid_client"), (404, "x")])
def test_a_login_that_fails_for_the_servers_sake_is_not_the_users_fault(
    url: str, realm: RealmServer, status: int, error: str
) -> None:
    realm.status, realm.error = status, error
    answer = requests.post(f"{url}/auth/token", data={"username": USER, "password": "any"})
    assert_refused(answer, 503, "MONAI_LABEL_AUTH_REALM_URI")
    assert answer.headers["Retry-After"]


def test_a_realm_that_does_not_exist_is_told(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MONAI_LABEL_AUTH_REALM_URI", "http://127.0.0.1:9/realms/r")
    assert_refused(requests.post(f"{url}/auth/token", data={"username": "a", "password": "b"}), 503, "login server")
    assert_refused(get(url, "a.b.c"), 503, "login server")
    assert_refused(requests.post(f"{url}/auth/token", data={"username": "a"}), 422, "`password`", "missing")


def test_without_login_everybody_is_monai_labels_default_user(tmp_path: Path) -> None:
    assert not stock.MONAI_LABEL_AUTH_ENABLE
    app = app_with_login()
    for headers in ([], [(b"authorization", b"Bearer rubbish")]):
        answer = ask(app, headers=[(b"host", b"localhost"), *headers])
        assert answer.json() == DEFAULT_USER.model_dump()
    assert ask(app, "/auth/").json()["enabled"] is False
    assert_refused(ask(app, "/auth/token", "POST", [(b"host", b"localhost")]), 422)
    with serving(app) as url:
        assert not MONAILabelClient(url, tmpdir=str(tmp_path)).auth_enabled()
        assert_refused(requests.post(f"{url}/auth/token", data={"username": "a", "password": "b"}), 404, "no login")


RUBBISH = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60), st.from_regex(r"[\w-]{0,40}\.[\w-]{0,40}\.[\w-]*")
)


def test_no_rubbish_gets_in_or_breaks_the_server(realm: RealmServer) -> None:
    app = app_with_login()

    @settings(max_examples=150, deadline=None)
    @given(RUBBISH)
    def refused(rubbish: str) -> None:
        assert_refused(bearing(app, rubbish, "/auth/token/valid"), 401)

    refused()


def in_browser(url: str) -> requests.Session:
    """As a browser asks for pages."""
    browser = requests.Session()
    browser.headers.update({"Accept": "text/html,*/*;q=0.8", "Origin": url})
    return browser


def log_in(browser: requests.Session, url: str, password: str = PASSWORD) -> requests.Response:
    return browser.post(f"{url}/textseg/login", {"username": USER, "password": password})


def test_a_browser_logs_in_by_a_form_and_sees_the_page(url: str, realm: RealmServer) -> None:
    browser = in_browser(url)
    form = browser.get(f"{url}/textseg/")
    assert (form.status_code, form.url) == (200, f"{url}/textseg/login")
    assert 'method="post" action="login"' in form.text and 'type="password"' in form.text
    assert "form-action 'self'" in form.headers["Content-Security-Policy"] and "script" not in form.text
    assert form.headers["Referrer-Policy"] == "same-origin"  # else a browser's form has the origin `null`
    page = log_in(browser, url)
    assert (page.status_code, page.url) == (200, f"{url}/textseg/") and page.json()["username"] == USER
    assert page.history[0].status_code == 303 and PASSWORD not in page.history[0].text
    kept = page.history[0].headers["Set-Cookie"]
    assert "HttpOnly" in kept and "SameSite=strict" in kept and "Path" not in kept and "Secure" not in kept
    assert browser.get(f"{url}/textseg/").json()["username"] == USER


def test_a_wrong_password_and_a_realm_that_is_away_are_told_in_the_form(url: str, realm: RealmServer) -> None:
    browser = in_browser(url)
    wrong = log_in(browser, url, "<b>wrong</b>")
    assert wrong.status_code == 401 and "Name or password is wrong" in wrong.text and "<b>" not in wrong.text
    realm.status = 500
    away = log_in(browser, url)
    assert away.status_code == 503 and "cannot be reached" in away.text and "<form" in away.text
    assert not browser.cookies


def test_the_cookie_counts_for_looking_at_the_page_alone(url: str, realm: RealmServer) -> None:
    headers = {"Cookie": f"{COOKIE}={realm.token()}", "Accept": "text/html"}
    assert requests.get(f"{url}/textseg/", headers=headers).status_code == 200
    assert_refused(requests.post(f"{url}/textseg/", headers=headers), 401, "log in")
    assert_refused(requests.get(f"{url}/info/", headers=headers), 401, "log in")
    asked_by_a_program = requests.get(f"{url}/textseg/", headers={"Accept": "application/json"})
    assert_refused(asked_by_a_program, 401, "log in")


def test_a_login_that_has_ended_leads_to_the_form_again(url: str, realm: RealmServer) -> None:
    headers = {"Cookie": f"{COOKIE}={realm.token(exp=1)}", "Accept": "text/html"}
    answer = requests.get(f"{url}/textseg/", headers=headers, allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "login")
    assert "Your login has ended" in requests.get(f"{url}/textseg/login", headers=headers).text
    no_role = {"Cookie": f"{COOKIE}={realm.token(realm_access={})}", "Accept": "text/html"}
    assert_refused(requests.get(f"{url}/textseg/", headers=no_role), 403, '"monailabel-user"')


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"iss": "https://evil.example/realms/r"}, "not one of this server"),
        ({"preferred_username": None, "sub": None}, "names no user"),
        ({"realm_access": {}}, "monailabel-user"),
    ],
)
def test_a_token_that_would_be_refused_is_told_in_the_form(
    url: str, realm: RealmServer, monkeypatch: pytest.MonkeyPatch, claims: dict, said: str
) -> None:
    whole = realm.token
    monkeypatch.setattr(realm, "token", lambda: whole(**claims))
    browser = in_browser(url)
    answer = log_in(browser, url)
    assert answer.status_code in (401, 403) and said in answer.text and "<form" in answer.text and not browser.cookies


def test_a_token_that_no_browser_keeps_is_told(url: str, realm: RealmServer, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, long = realm.token, "x" * LONGEST
    monkeypatch.setattr(realm, "token", lambda: whole(note=long))
    browser = in_browser(url)
    answer = log_in(browser, url)
    assert answer.status_code == 502 and "too long for a browser" in answer.text and not browser.cookies


def test_a_form_sent_from_another_site_logs_nobody_in(url: str, realm: RealmServer) -> None:
    foreign = {"Origin": "http://evil.example"}
    sent = requests.post(f"{url}/textseg/login", {"username": USER, "password": PASSWORD}, headers=foreign)
    assert_refused(sent, 403, "another origin")


def test_without_a_login_there_is_no_form(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock, "MONAI_LABEL_AUTH_ENABLE", False)
    for answer in (requests.get(f"{url}/textseg/login"), log_in(in_browser(url), url, "x")):
        assert answer.url == f"{url}/textseg/" and answer.json()["username"] == DEFAULT_USER.username
