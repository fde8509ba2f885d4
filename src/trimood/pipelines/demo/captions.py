"""Captions of what is seen or heard, for contrastive pre-training: attributes only, never an emotion's name."""

from dataclasses import fields

import numpy as np

from trimood.pipelines.demo.faces import Expression
from trimood.pipelines.demo.voices import Prosody

# Per field what is said of it when it is low, and when it is high.
FACE_WORDS = {
    "brow_height": ("lowered", "raised"),
    "frown": ("slanting", "frowning"),
    "eye_openness": ("squinting", "staring"),
    "smile": ("drooping", "smiling"),
    "mouth_openness": ("closed", "gaping"),
    "restlessness": ("still", "moving"),
}
VOICE_WORDS = {
    "pitch": ("low", "high"),
    "loudness": ("quiet", "loud"),
    "pace": ("slow", "fast"),
    "tremble": ("steady", "trembling"),
    "breath": ("clear", "breathy"),
    "glide": ("falling", "rising"),
}
NOTICEABLE = 0.3  # in Expression's and Prosody's units; what is weaker is not mentioned


def describe_face(expression: Expression, rng: np.random.Generator) -> str:
    """Such as "a smiling staring raised face"."""
    words = _noticed(expression, FACE_WORDS, rng)
    return f"a {' '.join(words)} face" if words else "a usual face"


def describe_voice(prosody: Prosody, rng: np.random.Generator) -> str:
    """Such as "a loud fast high voice"."""
    words = _noticed(prosody, VOICE_WORDS, rng)
    return f"a {' '.join(words)} voice" if words else "a usual voice"


def _noticed(shown: Expression | Prosody, words: dict[str, tuple[str, str]], rng: np.random.Generator) -> list[str]:
    """A word for each noticeable field, in random order: no caption of the world lists things in one."""
    said = []
    for field in fields(shown):
        value = getattr(shown, field.name)
        if abs(value) > NOTICEABLE:
            said.append(words[field.name][int(value > 0)])
    return [said[place] for place in rng.permutation(len(said))]
