"""Trained experiments and clips, as the page meets them."""

from learning_examples import sources
from trained_experiments import clips, trained_folder

__all__ = ["clips", "sources", "trained_folder"]
