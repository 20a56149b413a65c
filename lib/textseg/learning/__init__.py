"""Learning from corrections: what is trained on, what it is held against, which version serves. No MONAI Label."""
