"""Fixtures of the stages' tests."""

from support.learning_examples import prepared_clips, sources
from support.made_encoders import encoder_folder
from support.trained_experiments import clips, reader_of_conversations, trained_folder

__all__ = ["clips", "encoder_folder", "prepared_clips", "reader_of_conversations", "sources", "trained_folder"]
