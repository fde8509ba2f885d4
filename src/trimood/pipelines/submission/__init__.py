"""Writes an experiment's predictions in the format of the shared task."""

from trimood.pipelines import Stage
from trimood.pipelines.submission.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(tracked=True, run_separately=True)
