"""Sessions on a disk that may hold anything, and /session as MONAI Label's clients use it."""

import json
import os
import threading
import time
import uuid
from pathlib import Path

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from monailabel.config import settings as platform
from monailabel.interfaces.utils import app as served
from starlette.testclient import TestClient

from textseg.errors import OptionError, StoreError
from textseg.server.routes.opened import open_routes
from textseg.server.routes.session import MAX_FILES, plain_names, session_router
from textseg.server.sessions import SafeSessions

DAY = 24 * 3600
SAME_FOLDER = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


class StubApp:
    """An app that has sessions and nothing else."""

    def __init__(self, sessions: SafeSessions | None) -> None:
        self._sessions = sessions

    def sessions(self) -> SafeSessions | None:
        return self._sessions


@pytest.fixture
def store(tmp_path: Path) -> SafeSessions:
    return SafeSessions(str(tmp_path / "store"), 3600)


@pytest.fixture
def client(store: SafeSessions, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    key = f"{platform.MONAI_LABEL_APP_DIR}{platform.MONAI_LABEL_STUDIES}"
    monkeypatch.setattr(served, "apps", {key: StubApp(store)})
    app = FastAPI()
    open_routes(app, [session_router()])
    return TestClient(app, raise_server_exceptions=False)


def added(store: SafeSessions, name: str = "chest.png", content: bytes = b"pixels") -> tuple[str, Path]:
    """A session with one file; its id and its folder."""
    sent = Path(store.store_path).parent / name
    sent.write_bytes(content)
    session_id, session = store.add_session(str(sent))
    return session_id, Path(session.path)


def grown_old(folder: Path) -> None:
    os.utime(folder, (time.time() - 30 * DAY,) * 2)


def damaged(name: str, folder: Path, outside: Path) -> list[str | bytes]:
    """Everything that a `meta.info` should not be."""
    good = json.loads((folder / "meta.info").read_text())
    foreign = [
        {**good, "image": str(outside)},
        {**good, "image": str(folder / ".." / outside.name)},
        {**good, "image": str(folder)},
        {**good, "image": str(folder / "meta.info")},
        {**good, "image": "\0"},
        {**good, "image": str(folder / ("a" * 5000))},
        {**good, "image": None},
        {**good, "name": str(uuid.uuid4())},
        {**good, "expiry": "soon"},
        {**good, "last_access_ts": -1},
        {key: value for key, value in good.items() if key != "create_ts"},
    ]
    text = json.dumps(good)
    return ["", text[: len(text) // 2], "[]", "null", b"\xff\xfe\0", "[" * 5000, *map(json.dumps, foreign)]


def test_a_session_keeps_its_picture_until_it_is_removed(store):
    session_id, folder = added(store)
    again = SafeSessions(store.store_path, 3600)  # the server was started anew
    session = again.get_session(session_id)
    assert Path(session.image).read_bytes() == b"pixels"
    assert session.expiry == 3600
    again.remove_session(session_id)
    assert again.get_session(session_id) is None
    assert not folder.exists()


def test_damaged_sessions_are_unknown_and_stay_until_they_are_old(store, tmp_path, caplog):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not of a session")
    session_id, folder = added(store)
    for content in damaged(session_id, folder, secret):
        (folder / "meta.info").write_bytes(content if isinstance(content, bytes) else content.encode())
        fresh = SafeSessions(store.store_path, 3600)
        caplog.clear()
        assert fresh.get_session(session_id) is None, content
        assert fresh.get_session(session_id) is None
        assert len(caplog.records) == 1
        assert fresh.remove_expired() == 0
        assert folder.exists()
    grown_old(folder)
    assert fresh.remove_expired() == 1
    assert not folder.exists()
    assert secret.exists()


def test_a_link_out_of_a_session_is_not_followed(store, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"not of a session")
    session_id, folder = added(store)
    (folder / "chest.png").unlink()
    (folder / "chest.png").symlink_to(secret)
    assert SafeSessions(store.store_path).get_session(session_id) is None
    link = Path(store.store_path) / str(uuid.uuid4())
    link.symlink_to(folder)
    store.remove_session(link.name)
    assert SafeSessions(store.store_path).get_session(link.name) is None
    assert folder.exists()


def test_only_old_sessions_expire_and_strangers_stay(store):
    old, folder = added(store)
    young, _ = added(store)
    meta = json.loads((folder / "meta.info").read_text())
    (folder / "meta.info").write_text(json.dumps({**meta, "last_access_ts": int(time.time()) - 4000}))
    stranger = Path(store.store_path) / "my own pictures"
    stranger.mkdir()
    grown_old(stranger)
    assert store.remove_expired() == 1
    assert store.get_session(old) is None
    assert store.get_session(young) is not None
    assert stranger.exists()
    assert SafeSessions(store.store_path + "/nowhere").remove_expired() == 0


def test_monai_label_clears_away_what_an_earlier_server_left(store):
    assert bool(SafeSessions(store.store_path))


@pytest.mark.parametrize(("asked", "kept"), [(-5, 3600), (0, 3600), (60, 60), (10**30, 3600)])
def test_expiry_is_never_more_than_the_servers_own(store, tmp_path, asked, kept):
    (tmp_path / "a.png").write_bytes(b"a")
    assert store.add_session(str(tmp_path / "a.png"), asked)[1].expiry == kept


@pytest.mark.parametrize(("own", "kept"), [(-1, 3600), (10**30, 30 * DAY)])
def test_an_absurd_expiry_of_the_server_is_bounded(tmp_path, own, kept):
    assert SafeSessions(str(tmp_path), own).expiry == kept


def test_what_cannot_be_added_leaves_nothing(store, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(OptionError, match="not unpacked"):
        store.add_session(str(tmp_path / "a.zip"), uncompress=True)
    with pytest.raises(OptionError):
        store.add_session(str(tmp_path / "a.zip"), session_id="../a")
    with pytest.raises(StoreError):
        store.add_session(str(tmp_path / "gone.png"))
    assert not Path(store.store_path).exists() or not list(Path(store.store_path).iterdir())


@SAME_FOLDER
@given(st.one_of(st.text(), st.just(".."), st.just("../secret"), st.none(), st.integers()))
def test_anything_but_a_uuid_is_no_session(store, name):
    assert store.get_session(name) is None
    store.remove_session(name)


def test_meta_info_is_whole_for_every_reader(store):
    session_id, folder = added(store)
    until = time.monotonic() + 0.5
    broken = []

    def read() -> None:
        while time.monotonic() < until:
            try:
                json.loads((folder / "meta.info").read_text())
            except ValueError as error:
                broken.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    while time.monotonic() < until:
        store.get_session(session_id)
    for reader in readers:
        reader.join()
    assert broken == []
    assert sorted(path.name for path in folder.iterdir()) == ["chest.png", "meta.info"]


def test_a_client_makes_asks_and_removes_a_session(client, store):
    made = client.put("/session/", files=[("files", ("chest.png", b"pixels"))], data={"client_id": "me"}).json()
    assert set(made["session_info"]) == {"name", "expiry", "create_ts", "last_access_ts"}
    assert store.store_path not in json.dumps(made)
    address = f"/session/{made['session_id']}"
    assert client.get(address, params={"update_ts": True}).json()["name"] == made["session_id"]
    picture = client.get(address, params={"image": True})
    assert (picture.content, picture.headers["content-type"]) == (b"pixels", "image/png")
    assert 'filename="chest.png"' in picture.headers["content-disposition"]
    assert client.delete(address).status_code == 200
    assert client.delete(address).status_code == client.get(address).status_code == 404
    assert "no session" in client.get(address).json()["detail"]


def test_many_files_make_one_session_with_a_folder(client, store):
    names = ["a/1.dcm", "b\\1.dcm", "../../1.dcm", "", "..", "meta.info", "é\n\x7f" + "n" * 300 + ".dcm"]
    sent = [("files", (name, bytes([place]))) for place, name in enumerate(names) if name]
    made = client.put("/session/", files=sent)
    assert made.status_code == 200, made.text
    folder = Path(store.get_session(made.json()["session_id"]).image)
    assert sorted(path.read_bytes() for path in folder.iterdir()) == [
        bytes([n]) for n, name in enumerate(names) if name
    ]
    assert client.get(f"/session/{made.json()['session_id']}", params={"image": True}).status_code == 422


def test_a_picture_called_like_the_servers_own_file_stays_a_picture(client, store):
    made = client.put("/session/", files=[("files", ("meta.info", b"{}"))])
    assert Path(store.get_session(made.json()["session_id"]).image).read_bytes() == b"{}"


def test_what_is_no_upload_is_refused_in_words(client, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    picture = [("files", ("chest.png", b"pixels"))]
    zipped = client.put("/session/", params={"uncompress": True}, files=picture)
    many = [("files", (f"{n}.dcm", b"")) for n in range(MAX_FILES + 1)]
    kind = {"content-type": "multipart/form-data; boundary=x"}
    torn = client.put("/session/", content=b"--x\r\nContent-Disposition: form-", headers=kind)
    nothing = [client.put("/session/"), client.put("/session/", data={"files": "text"}), torn]
    for answer in [zipped, client.put("/session/", files=many), *nothing]:
        assert answer.status_code == 422
        assert isinstance(answer.json()["detail"], str)
    assert "not unpacked" in zipped.json()["detail"]
    assert list(tmp_path.glob("textseg-*")) == []


def test_a_full_disk_is_told_and_nothing_is_left(client, store, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    answer = client.put("/session/", files=[("files", ("chest.png", b"pixels"))])
    assert answer.status_code == 503
    assert "disk" in answer.json()["detail"]
    assert not Path(store.store_path).exists()


def test_a_server_without_sessions_says_so(client, monkeypatch):
    key = f"{platform.MONAI_LABEL_APP_DIR}{platform.MONAI_LABEL_STUDIES}"
    monkeypatch.setitem(served.apps, key, StubApp(None))
    assert client.get(f"/session/{uuid.uuid4()}").status_code == 406


@given(st.lists(st.one_of(st.none(), st.text()), max_size=6))
def test_names_of_uploads_are_plain_and_different(sent):
    names = plain_names(sent)
    assert len(set(names)) == len(sent)
    for name in names:
        assert name.isprintable() and "/" not in name and "\\" not in name and not name.startswith(".")
        assert 0 < len(name.encode()) < 256


@SAME_FOLDER
@given(st.text(max_size=50), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_no_request_breaks_the_server(client, session_id, first, second, third):
    query = {"update_ts": first, "image": second, "uncompress": first, "expiry": third}
    for method in ("GET", "PUT", "DELETE"):
        answer = client.request(
            method, "/session/" + "".join(f"%{byte:02x}" for byte in session_id.encode()), params=query
        )
        assert answer.status_code < 500
