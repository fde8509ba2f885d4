"""Generates a corpus and checkpoints, so that the project runs without data, weights or a GPU."""

from trimood.config.parameters import DemoParams
from trimood.pipelines import Stage
from trimood.pipelines.demo.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(parameters={"demo": DemoParams})
