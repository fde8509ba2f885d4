"""Turns clips into frames and log-mel tensors, cached by content; cuts clips from episodes."""
