"""An experiment's predictions in the task's own format, for its scorer."""

from trimood.pipelines import Stage
from trimood.pipelines.submission.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(tracked=True, run_separately=True)
