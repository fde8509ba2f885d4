"""An Optuna search over the parameters of one experiment, scored on the validation split only."""
