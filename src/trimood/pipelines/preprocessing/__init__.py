"""Prepares clips as the tensors that the checkpoints expect, once for all experiments."""

from trimood.pipelines import Stage
from trimood.pipelines.preprocessing.pipeline import create_pipeline, create_submission_pipeline

__all__ = ["STAGE", "create_pipeline", "create_submission_pipeline"]

STAGE = Stage()
