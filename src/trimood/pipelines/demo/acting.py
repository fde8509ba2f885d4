"""From an emotion to what is seen and heard of it: each modality shows it only partly, so that no one suffices."""

from dataclasses import fields

import numpy as np

from trimood.emotions import EMOTIONS
from trimood.pipelines.demo.faces import Expression
from trimood.pipelines.demo.voices import Prosody

# Fear looks much like surprise, disgust much like anger.
EXPRESSIONS = {
    "surprise": Expression(1.0, -0.1, 0.9, 0.0, 0.9, 0.0),
    "fear": Expression(0.9, -0.4, 0.9, -0.2, 0.7, 0.4),
    "sadness": Expression(0.1, -0.9, -0.5, -0.9, -0.7, -0.6),
    "neutral": Expression(0.0, 0.0, 0.0, 0.0, -0.4, 0.0),
    "joy": Expression(0.3, 0.0, -0.1, 1.0, 0.5, 0.5),
    "anger": Expression(-0.8, 0.9, 0.3, -0.5, 0.2, 0.5),
    "disgust": Expression(-0.7, 0.8, 0.0, -0.6, -0.1, 0.1),
}
# Joy sounds much like anger, sadness much like neutral.
PROSODIES = {
    "surprise": Prosody(0.6, 0.3, 0.1, -0.6, -0.5, 1.0),
    "fear": Prosody(0.6, -0.4, 0.7, 1.0, 0.4, 0.2),
    "sadness": Prosody(-0.2, -0.3, -0.3, -0.6, -0.3, -0.3),
    "neutral": Prosody(0.0, 0.0, 0.0, -0.8, -0.7, -0.2),
    "joy": Prosody(0.7, 0.7, 0.6, -0.5, -0.7, 0.2),
    "anger": Prosody(0.6, 0.9, 0.6, -0.7, -0.3, -0.1),
    "disgust": Prosody(-0.8, 0.1, -0.6, -0.3, 0.9, -0.6),
}
LOOKS_LIKE = {"surprise": "fear", "fear": "surprise", "anger": "disgust", "disgust": "anger"}
SOUNDS_LIKE = {"joy": "anger", "anger": "joy", "sadness": "neutral", "neutral": "sadness"}

# How often a face or a voice shows its own emotion, its look-alike's, or nothing; the rest shows any at random.
SHOWS_OWN, SHOWS_ALIKE, SHOWS_NOTHING = 0.60, 0.22, 0.10
SPREAD = 0.22  # standard deviation of a performance around its type, in Expression's and Prosody's units


def express(emotion: str, rng: np.random.Generator) -> Expression:
    """A face for this emotion."""
    kind = EXPRESSIONS[_shown(emotion, LOOKS_LIKE, rng)]
    return Expression(*_around([getattr(kind, field.name) for field in fields(kind)], rng))


def intone(emotion: str, rng: np.random.Generator) -> Prosody:
    """A way of speaking for this emotion."""
    kind = PROSODIES[_shown(emotion, SOUNDS_LIKE, rng)]
    return Prosody(*_around([getattr(kind, field.name) for field in fields(kind)], rng))


def _shown(emotion: str, alike: dict[str, str], rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < SHOWS_OWN:
        return emotion
    if draw < SHOWS_OWN + SHOWS_ALIKE:
        return alike.get(emotion, emotion)
    if draw < SHOWS_OWN + SHOWS_ALIKE + SHOWS_NOTHING:
        return "neutral"
    return str(rng.choice(EMOTIONS))


def _around(kind: list[float], rng: np.random.Generator) -> list[float]:
    strength = rng.uniform(0.7, 1.1)
    return [float(value) for value in np.clip(strength * np.array(kind) + rng.normal(0, SPREAD, len(kind)), -1, 1)]
