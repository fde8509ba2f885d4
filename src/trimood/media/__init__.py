"""Clips on disk → frames and log-mel tensors, cached by content."""
