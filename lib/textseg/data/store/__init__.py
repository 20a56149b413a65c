"""What must not be lost: prompts, labels and their versions, beside the pictures they belong to. Needs no torch."""
