"""Predicts a user's own utterances with a trained model."""

from trimood.config.parameters import PredictionParams, Words
from trimood.pipelines import Stage
from trimood.pipelines.predict.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(run_separately=True, parameters={"clips": str, "text": Words, "prediction": PredictionParams})
