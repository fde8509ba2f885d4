"""Trained experiments and clips, as the page meets them."""

from support.learning_examples import sources
from support.trained_experiments import clips, trained_folder

__all__ = ["clips", "sources", "trained_folder"]
