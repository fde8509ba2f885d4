"""Fixtures of the model tests."""

from support.made_encoders import encoder_folder

__all__ = ["encoder_folder"]
