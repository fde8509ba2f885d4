"""Cuts the clips of utterances from whole episodes, and lists the outcome for each clip."""

from trimood.config.parameters import CuttingParams
from trimood.pipelines import Stage
from trimood.pipelines.cut_clips.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(parameters={"cutting": CuttingParams})
