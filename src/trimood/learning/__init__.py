"""Batches, the trainer, prediction, and the parameter search."""
