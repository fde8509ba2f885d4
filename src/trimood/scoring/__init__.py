"""Scores and figures from stored predictions; no torch here."""
