"""Compares experiments by the results stored in their MLflow runs."""
