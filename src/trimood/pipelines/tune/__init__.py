"""A search over one experiment's parameters by Optuna, judged on validation alone."""

from trimood.pipelines.tune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
