"""One experiment from its plan to its scores: the stage that every experiment is a copy of."""

from trimood.pipelines.experiment.pipeline import create_pipeline

__all__ = ["create_pipeline"]
