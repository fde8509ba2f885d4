"""Annotation files to utterance tables: read, describe, split, choose what is scored."""

from trimood.pipelines.ingestion.pipeline import create_pipeline, create_submission_pipeline

__all__ = ["create_pipeline", "create_submission_pipeline"]
