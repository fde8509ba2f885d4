"""Utterances of a person's own, predicted by a trained model."""

from trimood.pipelines.predict.pipeline import create_pipeline

__all__ = ["create_pipeline"]
