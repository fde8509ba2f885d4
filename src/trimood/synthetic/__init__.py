"""The generated corpus and checkpoints of the demo."""
