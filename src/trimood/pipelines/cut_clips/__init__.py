"""Clips of utterances from whole episodes: spans, episode files, cutting, and a table of what became of each."""

from trimood.config.parameters import CuttingParams
from trimood.pipelines import Stage
from trimood.pipelines.cut_clips.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(parameters={"cutting": CuttingParams})
