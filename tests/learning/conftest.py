"""Fixtures of the learning tests."""

from support.learning_examples import prepared_clips, sources
from support.made_encoders import encoder_folder

__all__ = ["encoder_folder", "prepared_clips", "sources"]
