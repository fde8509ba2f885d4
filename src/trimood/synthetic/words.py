"""The sentences of the demo: the templates of words.yml, filled in and chosen by emotion."""

from functools import cache
from importlib.resources import files

import numpy as np
import yaml

# How often the words show the speaker's emotion, fit two emotions, or fit any; otherwise they show a random one. TF-IDF
# reaches a macro F1 of about .34 on them, near its .31 on ECF's official test. More would leave little to see or hear.
SHOWS_OWN, SHOWS_SHARED, SHOWS_PLAIN = 0.30, 0.20, 0.45
NEUTRAL_IS_PLAIN = 0.92

Templates = dict[str, list[str]]


@cache
def _read() -> tuple[list[str], Templates, Templates, Templates]:
    """Sentences that fit any emotion, one (by emotion) or two (by "emotion emotion"), and the fillers of each slot."""
    content = yaml.safe_load(files("trimood.synthetic").joinpath("words.yml").read_text(encoding="utf-8"))
    return content["plain"], content["own"], content["shared"], content["slots"]


def templates() -> list[str]:
    """Every template sentence once, in a fixed order."""
    plain, own, shared, _ = _read()
    return [*plain, *(sentence for group in (*own.values(), *shared.values()) for sentence in group)]


def fill_in(template: str, rng: np.random.Generator) -> str:
    """The template with a random filler in each slot, capitalised at its start."""
    sentence = template
    for slot, fillers in _read()[3].items():
        while "{" + slot + "}" in sentence:
            sentence = sentence.replace("{" + slot + "}", str(rng.choice(fillers)), 1)
    return sentence[0].upper() + sentence[1:]


def say(emotion: str, rng: np.random.Generator) -> str:
    """A sentence for this emotion; about a third of them show it."""
    return fill_in(str(rng.choice(_choose_templates(emotion, rng))), rng)


def _choose_templates(emotion: str, rng: np.random.Generator) -> list[str]:
    plain, own, shared, _ = _read()
    draw = rng.random()
    if emotion == "neutral":
        return plain if draw < NEUTRAL_IS_PLAIN else own[str(rng.choice(list(own)))]
    if draw < SHOWS_OWN:
        return own[emotion]
    if draw < SHOWS_OWN + SHOWS_SHARED:
        return next(sentences for pair, sentences in shared.items() if emotion in pair.split())
    if draw < SHOWS_OWN + SHOWS_SHARED + SHOWS_PLAIN:
        return plain
    return own[str(rng.choice(list(own)))]
