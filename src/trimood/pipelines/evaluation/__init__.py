"""Predictions of the best epoch on validation and test, their scores and pictures, and what each modality is worth."""

from trimood.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
