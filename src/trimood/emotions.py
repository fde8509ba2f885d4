"""The seven emotions and three modalities of the task, in the orders that every file, tensor and table uses."""

from typing import Literal

Modality = Literal["video", "audio", "text"]

Source = Literal["video", "audio"]
"""The two LanguageBind checkpoints; the text tower comes with either."""

EMOTIONS: tuple[str, ...] = ("surprise", "fear", "sadness", "neutral", "joy", "anger", "disgust")
"""Class number = position: SemEval-2024 Task 3 as the published experiments number it."""

MODALITIES: tuple[Modality, ...] = ("video", "audio", "text")
"""The order in which embeddings are concatenated before the classifier."""

CLASS_NUMBERS = {emotion: number for number, emotion in enumerate(EMOTIONS)}

PROBABILITIES = tuple(f"p_{emotion}" for emotion in EMOTIONS)
"""Columns of a table of predictions: the probability of each emotion, in class order."""

CALIBRATED = tuple(f"calibrated_{emotion}" for emotion in EMOTIONS)
"""The same at the temperature that was fitted on the validation split."""
