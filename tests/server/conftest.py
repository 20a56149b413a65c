"""Server fixtures: one server for most tests, more on request."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Server, start
from scored_site import Site
from textseg.data.sample_studies import write_sample_studies
from textseg.server import scoring


@pytest.fixture(scope="module")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """start_server(studies, *conf) starts one from an unrelated working directory; all stop with the test's file."""
    servers: list[Server] = []

    def started(studies: Path, *conf: str, app: Path | None = None) -> Server:
        servers.append(start(studies, conf, tmp_path_factory.mktemp("server"), app))
        return servers[-1]

    yield started
    for server in servers:
        stop(server)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of most tests, on the sample studies."""
    studies = tmp_path_factory.mktemp("studies")
    write_sample_studies(studies)
    server = start(studies, (), tmp_path_factory.mktemp("server"), None)
    yield server
    stop(server)


def stop(server: Server) -> None:
    """As an operator does."""
    server.process.terminate()
    server.process.wait(30)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None) -> Iterator[Site]:
    """Scores come as soon as they may."""
    monkeypatch.setattr(scoring, "LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr(scoring, "ORDER_SECONDS", 0.0)
    made = Site(tmp_path)
    yield made
    made.choosing.close()
    made.studies.close()
