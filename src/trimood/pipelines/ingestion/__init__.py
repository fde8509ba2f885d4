"""Annotation files to utterance tables: read, describe, split, choose what is scored."""

from trimood.pipelines import Stage
from trimood.pipelines.ingestion.pipeline import create_pipeline, create_submission_pipeline

__all__ = ["STAGE", "create_pipeline", "create_submission_pipeline"]

STAGE = Stage()
