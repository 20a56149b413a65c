"""Server fixtures: one server for most tests, more on request."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness import Server, start
from textseg.data.sample_studies import write_sample_studies


@pytest.fixture(scope="session")
def start_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """start_server(studies, *conf) starts one from an unrelated working directory; all are stopped at the end."""
    servers: list[Server] = []

    def started(studies: Path, *conf: str, app: Path | None = None) -> Server:
        servers.append(start(studies, conf, tmp_path_factory.mktemp("server"), app))
        return servers[-1]

    yield started
    for server in servers:
        server.process.terminate()
        server.process.wait(30)


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """The server of most tests, on the sample studies."""
    studies = tmp_path_factory.mktemp("studies")
    write_sample_studies(studies)
    return start_server(studies)
