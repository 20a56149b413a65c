"""What the server learns from corrected masks: versions of a model, which of them serves. No MONAI Label."""
