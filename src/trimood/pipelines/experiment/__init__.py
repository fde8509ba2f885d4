"""One experiment from its plan to its scores; every experiment is a copy of this stage."""

from trimood.config.parameters import LoraParams, TrainingParams
from trimood.pipelines import Stage
from trimood.pipelines.experiment.pipeline import create_pipeline

__all__ = ["STAGE", "create_pipeline"]

STAGE = Stage(parameters={"training": TrainingParams, "lora": LoraParams})
