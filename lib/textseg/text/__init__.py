"""From a written prompt to what a network reads."""
