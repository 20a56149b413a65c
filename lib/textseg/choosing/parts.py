"""What a score is made of, by name: see `disagreement` for how each is found out."""

COUNT, ZONE, TEXT, FLIP, WORDS = "count", "zone", "text", "flip", "words"
