"""Experiments side by side, from their MLflow runs."""

from trimood.pipelines.reporting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
