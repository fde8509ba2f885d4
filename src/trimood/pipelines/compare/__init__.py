"""Experiments side by side, from what their MLflow runs have stored."""

from trimood.pipelines.compare.pipeline import create_pipeline

__all__ = ["create_pipeline"]
