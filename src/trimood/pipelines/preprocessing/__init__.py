"""Clips to tensors: what the checkpoints expect, prepared once for all experiments."""

from trimood.pipelines.preprocessing.pipeline import create_pipeline, create_submission_pipeline

__all__ = ["create_pipeline", "create_submission_pipeline"]
