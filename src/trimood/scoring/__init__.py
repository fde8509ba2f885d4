"""Scores and statistics of predictions, without torch."""
