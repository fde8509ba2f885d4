"""What an experiment is about to do, and doing it."""

from trimood.pipelines.training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
