"""Utterances of a person's own, predicted by a trained model."""

from trimood.pipelines.prediction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
