"""Predicts a user's own utterances with a trained model."""
