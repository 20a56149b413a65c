"""Errors are told to the client in one sentence, and the log tells of them without what a person wrote."""

import logging
import re
from collections.abc import Iterator

import pytest
import requests

from serving import MEBIBYTE, SECRET, assert_refused, bare_app, serving
from textseg.server.guard import secure
from textseg.server.guard_rules import GuardRules
from textseg.server.request_log import RequestIdFilter, install_request_ids, keep_prompts_out, told, told_error


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    app = bare_app()
    secure(app, GuardRules())
    with serving(app) as address:
        yield address


def test_a_fault_of_the_server_is_one_answer_and_one_traceback_without_the_prompt(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = requests.get(f"{url}/broken")
    assert_refused(answer, 500, "server's", answer.headers["X-Request-ID"])
    errors = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "in broken" in errors[0] and "builtins.KeyError" in errors[0] and "builtins.ValueError" in errors[0]
    assert SECRET not in caplog.text and "Mrs Smith" not in answer.text


def test_an_answer_that_breaks_off_is_seen_to_break_off(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(requests.RequestException):
        requests.get(f"{url}/cut")
    assert caplog.text.count("Traceback") == 0 and caplog.text.count("builtins.RuntimeError") == 1
    assert SECRET not in caplog.text
    assert requests.get(f"{url}/info/").status_code == 200


@pytest.mark.parametrize(
    ("path", "sent", "status", "words"),
    [
        ("train/", {"data": '{"a": ', "headers": {"Content-Type": "application/json"}}, 422, ["not valid JSON", "6"]),
        ("train/", {"data": "[" * 90_000, "headers": {"Content-Type": "application/json"}}, 400, ["nested too deeply"]),
        ("train/", {"data": "\xff", "headers": {"Content-Type": "application/json"}}, 422, ["body"]),
        ("train/", {"json": [1]}, 422, ["The body should be a valid dictionary"]),
        ("train/", {}, 422, ["The body is missing"]),
        ("train/?limit=many", {"json": {}}, 422, ["`limit` in the query should be a valid integer"]),
        ("infer/m", {"files": {"params": (None, MEBIBYTE + b"x")}}, 400, ["exceeded", "as a file"]),
        ("infer/m", {"files": [("f", ("f", b""))] * 1001}, 400, ["Too many files", "several requests"]),
        ("infer/m", {"data": "x", "headers": {"Content-Type": "multipart/form-data"}}, 400, ["boundary", "library"]),
        ("nothing", {}, 404, ["Nothing is served"]),
        ("info/", {}, 405, ["does not take this method"]),
    ],
)
def test_a_mistake_of_the_client_is_told_in_one_sentence(
    url: str, path: str, sent: dict, status: int, words: list[str]
) -> None:
    assert_refused(requests.post(f"{url}/{path}", **sent), status, *words)


def test_a_damaged_file_of_the_servers_own_is_the_servers_fault(url: str) -> None:
    assert_refused(requests.get(f"{url}/own_file"), 500, "the fault is the server's")


def test_an_error_for_people_keeps_its_words(url: str) -> None:
    assert_refused(requests.get(f"{url}/prompt"), 422, "Write it like this.")


def test_a_line_of_the_log_names_its_request_once(url: str) -> None:
    lines: list[str] = []
    root = logging.getLogger()

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handlers = [Kept(), Kept()]
    for handler in handlers:
        root.addHandler(handler)
    try:
        for _ in range(3):
            install_request_ids()
        answer = requests.get(f"{url}/broken")
        logging.getLogger("textseg.test").error("100%% %s", "outside")
        counts = [len(handler.filters) for handler in handlers]
    finally:
        for handler in list(root.handlers):
            for kept in [kept for kept in handler.filters if isinstance(kept, RequestIdFilter)]:
                handler.removeFilter(kept)
        for handler in handlers:
            root.removeHandler(handler)
    assert counts == [1, 1]
    assert [line for line in lines if line.startswith(f"[{answer.headers['X-Request-ID']}] GET")]
    assert [line for line in lines if "outside" in line] == ["[-] 100% outside"] * 2
    assert not [line for line in lines if line.count("[-]") + line.count("] [") > 1]


def test_monai_label_logs_requests_only_when_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    stock = logging.getLogger("monailabel")
    before = stock.level
    try:
        for level, told_there in ((logging.INFO, False), (logging.DEBUG, True), (logging.WARNING, False)):
            monkeypatch.setattr(logging.getLogger(), "level", level)
            keep_prompts_out()
            stock.manager._clear_cache()
            assert logging.getLogger("monailabel.endpoints.infer").isEnabledFor(logging.INFO) is told_there
            assert logging.getLogger("monailabel.endpoints.infer").isEnabledFor(logging.WARNING)
    finally:
        stock.setLevel(before)


def test_texts_are_told_by_length_and_digest() -> None:
    assert re.fullmatch("28 characters, sha256 [0-9a-f]{8}", told(SECRET))
    assert told("a").startswith("1 character, ")
    assert told("\ud800")
    assert told(SECRET) != told(SECRET[::-1])


def test_the_systems_own_words_stay_in_an_error() -> None:
    error = OSError(28, "No space left on device", f"/studies/{SECRET}.png")
    assert told_error(error) == "builtins.OSError: No space left on device"
    assert told_error(KeyError(SECRET)) == "builtins.KeyError"
    assert told_error(KeyError("debugging"), words=True) == "builtins.KeyError: 'debugging'"
