"""Cuts the clips of utterances from whole episodes, and lists the outcome for each clip."""
