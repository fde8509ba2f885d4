"""Clips to tensors: what the checkpoints expect, prepared once for all experiments."""

from trimood.pipelines.preprocessing.pipeline import create_pipeline

__all__ = ["create_pipeline"]
