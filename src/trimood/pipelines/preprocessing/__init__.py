"""Prepares clips as the tensors that the checkpoints expect, once for all experiments."""
