"""The seven emotions and three modalities of the task, in the orders that every file, tensor and table uses."""

from typing import Literal

Modality = Literal["video", "audio", "text"]

Source = Literal["video", "audio", "text"]
"""The checkpoints: LanguageBind's for video and audio, each with a text tower, and a text encoder of its own kind."""

EMOTIONS: tuple[str, ...] = ("surprise", "fear", "sadness", "neutral", "joy", "anger", "disgust")
"""The emotions of SemEval-2024 Task 3; the position is the class number, as in the published experiments."""

MODALITIES: tuple[Modality, ...] = ("video", "audio", "text")
"""The order in which embeddings are concatenated before the classifier."""

CLASS_NUMBERS = {emotion: number for number, emotion in enumerate(EMOTIONS)}

PROBABILITIES = tuple(f"p_{emotion}" for emotion in EMOTIONS)
"""Columns of a table of predictions: the probability of each emotion, in class order."""

CALIBRATED = tuple(f"calibrated_{emotion}" for emotion in EMOTIONS)
"""Columns of the calibrated probabilities, with the temperature fitted on the validation split."""

WITHOUT: dict[Modality, str] = {modality: f"without_{modality}" for modality in MODALITIES}
"""Columns of a table of predictions: the probability of the predicted emotion with a modality of the model blanked."""
