"""Writes an experiment's predictions in the format of the shared task."""
