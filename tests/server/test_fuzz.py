"""Whatever arrives on the wire: no 5xx but 503, nothing lost, and the server goes on."""

from collections.abc import Callable
from pathlib import Path

from fuzzing import assert_outlives
from harness import Server
from textseg.data.sample_studies import write_sample_studies


def test_no_request_makes_the_server_fail(start_server: Callable[..., Server], tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    write_sample_studies(studies)
    assert_outlives(start_server(studies), tmp_path, seeds=[1], examples=8, minutes=10)
