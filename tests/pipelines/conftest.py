"""Fixtures of the stages' tests."""

from learning_examples import prepared_clips, sources

__all__ = ["prepared_clips", "sources"]
