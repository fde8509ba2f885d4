"""Prediction of new utterances with a trained model, and its MLflow model for serving."""
