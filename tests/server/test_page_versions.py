"""The page names the version that serves here, which is not always the one that the folder says is to serve."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from textseg.engine.predictor import Predictor
from textseg.engine.weights import load_stored
from textseg.learning.current import CurrentPredictor
from textseg.learning.versions import Versions
from textseg.registry import DEFAULT_MODEL, model_spec
from textseg.server.facts import model_facts
from textseg.server.routes.status import StatusRoutes
from textseg.server.status_page import status_page

SPEC = model_spec(DEFAULT_MODEL)


@pytest.fixture
def current(tmp_path: Path, one_thread: None) -> CurrentPredictor:
    """The shipped weights serve, and v0001 was published since."""
    current = CurrentPredictor(Versions(tmp_path / SPEC.name, SPEC))
    network, manifest = load_stored(SPEC)
    Versions(tmp_path / SPEC.name, SPEC).publish(network, manifest, {"verdict": "Better."})
    return current


def page_of(current: CurrentPredictor) -> str:
    """As the server makes it; no pictures are looked at."""
    app = SimpleNamespace(datastore=lambda: None, _infers={SPEC.name: SimpleNamespace(current=current)})
    return status_page(StatusRoutes().status(app))


def test_what_was_published_serves_from_the_next_run_on(current: CurrentPredictor) -> None:
    assert "<td>v0001 serves, published 20" in page_of(current)
    assert current.get().version == "v0001"
    assert "<td>v0001 serves, published 20" in page_of(current)


def test_a_version_that_could_not_be_loaded_does_not_serve(
    current: CurrentPredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object) -> Predictor:
        raise MemoryError

    monkeypatch.setattr(Predictor, "load", out_of_memory)
    assert current.get().version == "v0000"
    page = page_of(current)
    assert "<td>v0000 serves</td>" in page and "v0000 serves in its place." in page
    assert "v0001" in page and "It cannot be loaded: MemoryError(). It is tried again." in page
    assert model_facts(current.versions).version == "v0001"  # as the command line says it, which asks no server
