"""Exports trained weights with the original's names and a model card."""
