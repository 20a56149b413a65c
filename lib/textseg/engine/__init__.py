"""Predictor, losses, metrics, trainer, evaluation. Runs without MONAI Label installed."""
