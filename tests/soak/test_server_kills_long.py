"""`make soak`: the server of tests/server/test_crash.py killed twenty times on one folder."""

import os
import random
import statistics
from pathlib import Path

from crashing import Crashes

KILLS = 20


def test_nothing_acknowledged_is_lost_when_the_server_is_killed_again_and_again(tmp_path: Path) -> None:
    """TEXTSEG_CRASH_SEED=NUMBER draws the same moments again."""
    seed = int(os.environ.get("TEXTSEG_CRASH_SEED") or random.SystemRandom().randrange(1, 2**31))
    print(f"\nTEXTSEG_CRASH_SEED={seed}", flush=True)
    crashes = Crashes.drawn(tmp_path, seed)
    for _ in range(KILLS):
        crashes.crash()
        figures = crashes.figures
        print(f"{figures.kills} kills, {figures.labels} labels and {figures.prompts} prompts acknowledged, 0 lost")
    with crashes.server() as server:
        crashes.assert_given_out(server)
    starts = crashes.figures.starts
    print(f"starts: median {statistics.median(starts):.1f} s, longest {max(starts):.1f} s", flush=True)
    assert crashes.figures.kills == KILLS
