"""An experiment's predictions in the task's own format, for its scorer."""

from trimood.pipelines.submission.pipeline import create_pipeline

__all__ = ["create_pipeline"]
