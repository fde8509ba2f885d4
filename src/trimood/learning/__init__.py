"""Batches, the trainer, and what is kept of a training."""
