"""Fixtures of the stages' tests."""

from support.learning_examples import prepared_clips, sources
from support.trained_experiments import clips, trained_folder

__all__ = ["clips", "prepared_clips", "sources", "trained_folder"]
