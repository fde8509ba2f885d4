"""Compares experiments by the results stored in their MLflow runs."""

from trimood.config.parameters import CompareParams
from trimood.pipelines import Stage
from trimood.pipelines.compare.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(tracked=True, run_separately=True, parameters={"compare": CompareParams})
