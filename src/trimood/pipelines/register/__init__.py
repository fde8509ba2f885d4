"""A run's model, with a name and an alias in MLflow's registry."""

from trimood.pipelines.register.pipeline import create_pipeline

__all__ = ["create_pipeline"]
