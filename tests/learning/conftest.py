"""Fixtures of the learning tests."""

from support.learning_examples import prepared_clips, sources

__all__ = ["prepared_clips", "sources"]
