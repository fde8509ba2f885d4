"""A corpus and checkpoints made on the spot: the whole project runs without data, weights or a GPU."""

from trimood.pipelines.demo.pipeline import create_pipeline

__all__ = ["create_pipeline"]
