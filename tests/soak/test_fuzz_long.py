"""`make soak`: the fuzz of tests/server/test_fuzz.py at twenty times the length, two at a time, with new seeds."""

import os
import random
from pathlib import Path

from fuzzing import assert_outlives
from harness import start
from textseg.data.sample_studies import write_sample_studies


def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    """TEXTSEG_FUZZ_SEED=NUMBER repeats one. Afterwards a server must start on what the first one left behind."""
    seed = int(os.environ.get("TEXTSEG_FUZZ_SEED") or random.SystemRandom().randrange(1, 2**31))
    print(f"\nTEXTSEG_FUZZ_SEED={seed}", flush=True)
    for name in ("studies", "first", "second"):
        (tmp_path / name).mkdir()
    write_sample_studies(tmp_path / "studies")
    server = start(tmp_path / "studies", (), tmp_path / "first")
    try:
        assert_outlives(server, tmp_path, seeds=[seed, seed + 1], examples=80, minutes=60)
    finally:
        server.process.terminate()
        server.process.wait(30)
    again = start(tmp_path / "studies", (), tmp_path / "second")
    again.process.terminate()
    again.process.wait(30)
