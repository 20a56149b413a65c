"""A version that is published or rolled back to while the server runs is in the next reply, and no request fails."""

import json
import threading
import time
from collections.abc import Callable

import pytest
import requests
from PIL import Image

from harness import Server
from textseg.cli import main
from textseg.data.phantoms import draw_radiograph
from textseg.engine.ready import read_manifest
from textseg.engine.weights import load_stored
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec

SPEC = model_spec(DEFAULT_MODEL)
PROMPT = "infection, left lung"
REPORT = {"verdict": "Better than v0000."}
PATIENCE = 120  # seconds


@pytest.fixture(scope="module")
def running(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server on one drawn picture."""
    studies = tmp_path_factory.mktemp("studies")
    Image.fromarray(draw_radiograph({"left": ("lower",)}, 4, 128).image).save(studies / "kilo.png")
    return start_server(studies)


def published(server: Server, threshold: float) -> str:
    """Publish the shipped weights with another threshold, as a training on the server would."""
    network, manifest = load_stored(SPEC)
    versions = Versions(server.app / "model" / SPEC.name, SPEC)
    return versions.publish(network, {**manifest, "threshold": threshold}, REPORT)


def asked(server: Server) -> tuple[str, float]:
    """The version that made a mask, and the threshold that a viewer is offered."""
    answer = server.post("kilo", json.dumps({"prompt": PROMPT}))
    assert answer.status_code == 200, answer.text
    info = requests.get(f"{server.url}/info/", timeout=PATIENCE).json()
    return version_in(answer), info["models"][DEFAULT_MODEL]["config"]["threshold"]


def version_in(answer: requests.Response) -> str:
    """The model_version of a reply, which stands in a multipart answer."""
    (line,) = (line for line in answer.content.split(b"\r\n") if line.startswith(b'{"label_names"'))
    return json.loads(line)["model_version"]


def test_a_running_server_takes_what_is_published_and_rolled_back_to(running: Server) -> None:
    shipped = read_manifest(SPEC.weights_path)["threshold"]
    assert asked(running) == ("v0000", shipped)
    assert published(running, 0.37) == "v0001"
    assert asked(running) == ("v0001", 0.37)
    assert main(["rollback", "--app", str(running.app)]) == 0
    assert asked(running) == ("v0000", shipped)
    assert main(["rollback", "--app", str(running.app), "--to", "v0001"]) == 0
    assert asked(running) == ("v0001", 0.37)


def test_requests_meanwhile_are_all_answered_by_one_version_or_the_other(running: Server) -> None:
    before, _ = asked(running)
    replies, enough = [], threading.Event()

    def ask() -> None:
        while not enough.is_set():
            answer = running.post("kilo", json.dumps({"prompt": PROMPT}))
            replies.append(version_in(answer) if answer.status_code == 200 else answer.text)

    askers = [threading.Thread(target=ask, daemon=True) for _ in range(3)]
    for asker in askers:
        asker.start()
    after, deadline = published(running, 0.41), time.monotonic() + PATIENCE
    while after not in replies and time.monotonic() < deadline:
        time.sleep(0.02)
    enough.set()
    for asker in askers:
        asker.join(PATIENCE)
    assert set(replies) == {before, after}
    assert asked(running) == (after, 0.41)


def test_a_restarted_server_serves_the_version_that_was_served_and_passes_over_a_damaged_one(
    running: Server, start_server: Callable[..., Server]
) -> None:
    damaged = published(running, 0.43)
    (running.app / "model" / SPEC.name / damaged / f"{SPEC.name}.safetensors").write_bytes(b"half")
    again = start_server(running.studies, app=running.app)
    version, threshold = asked(again)
    assert version < damaged and threshold == 0.41
    assert f"{damaged} of {SPEC.name} cannot be served." in again.log.read_text()
