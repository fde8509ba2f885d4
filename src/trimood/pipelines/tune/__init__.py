"""An Optuna search over the parameters of one experiment, scored on the validation split only."""

from trimood.config.parameters import TuneParams
from trimood.pipelines import Stage
from trimood.pipelines.tune.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(tracked=True, parameters={"tune": TuneParams})
