"""Registers a run's model in MLflow's registry, with a name and an alias."""

from trimood.config.parameters import Alias
from trimood.pipelines import Stage
from trimood.pipelines.register.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(run_separately=True, parameters={"alias": Alias})
