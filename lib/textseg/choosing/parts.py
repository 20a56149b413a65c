"""What a score is made of, by name, and how much each part counts: see `disagreement` for how each is found out."""

from collections.abc import Mapping
from types import MappingProxyType

COUNT, ZONE, TEXT, FLIP, WORDS = "count", "zone", "text", "flip", "words"

# How much each counts. On the 120 validation pictures of qata_cov19 the rank correlation with the error of the default
# model's mask (1 - Dice) is 0.68 for FLIP, 0.61 for ZONE, 0.47 for COUNT, 0.43 for TEXT; 0.53 for their plain mean,
# 0.67 for this. WORDS says nothing there: none of the masks contradicts its prompt.
WEIGHTS: Mapping[str, float] = MappingProxyType({FLIP: 0.5, ZONE: 0.15, COUNT: 0.15, WORDS: 0.15, TEXT: 0.05})
