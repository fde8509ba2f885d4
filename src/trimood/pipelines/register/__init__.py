"""Registers a run's model in MLflow's registry, with a name and an alias."""
