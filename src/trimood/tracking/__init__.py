"""MLflow: what is logged, where runs are kept, and which runs there are."""
