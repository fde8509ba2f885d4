"""Generates a corpus and checkpoints, so that the project runs without data, weights or a GPU."""
