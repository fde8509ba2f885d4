"""Generates the corpus and the checkpoints of the demo."""
