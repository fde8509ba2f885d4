"""Checks a copy of the corpus: annotations, clips and splits. Always writes a report, whatever it finds."""

from trimood.pipelines import Stage
from trimood.pipelines.check_data.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(tracked=True)
