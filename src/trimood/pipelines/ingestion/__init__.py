"""Reads annotation files into utterance tables, describes the corpus and splits it."""

from trimood.pipelines import Stage
from trimood.pipelines.ingestion.pipeline import create_pipeline, create_submission_pipeline

__all__ = ["STAGE", "create_pipeline", "create_submission_pipeline"]

STAGE = Stage()
