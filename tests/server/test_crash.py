"""kill -9 of the server at any moment: what it had acknowledged is kept, and it starts again."""

import os
import random
from pathlib import Path

from crashing import Crashes

KILLS = 3


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(tmp_path: Path) -> None:
    """TEXTSEG_CRASH_SEED=NUMBER draws the same moments again."""
    seed = int(os.environ.get("TEXTSEG_CRASH_SEED") or random.SystemRandom().randrange(1, 2**31))
    print(f"\nTEXTSEG_CRASH_SEED={seed}", flush=True)
    crashes = Crashes.drawn(tmp_path, seed)
    for _ in range(KILLS):
        crashes.crash()
    with crashes.server() as server:
        crashes.assert_given_out(server)
    print(crashes.figures)
    assert crashes.figures.kills == KILLS and crashes.figures.labels >= KILLS
