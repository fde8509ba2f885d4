"""Trained experiments and clips, as the page meets them."""

from support.learning_examples import sources
from support.made_encoders import encoder_folder
from support.trained_experiments import clips, reader_of_conversations, trained_folder

__all__ = ["clips", "encoder_folder", "reader_of_conversations", "sources", "trained_folder"]
