"""Is this copy of the corpus good? Annotations, clips and splits looked through; one report, whatever is found."""

from trimood.pipelines import Stage
from trimood.pipelines.check_data.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(tracked=True)
