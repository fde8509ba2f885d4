"""A search over an experiment's parameters with Optuna."""
