"""The soak runs use what the tests of the store and of versions share."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / part) for part in ("data", "learning")]
