"""Made answers to made conversations, whose errors go together as real ones do: by conversation, and by training."""

import numpy as np

CLASSES = list(range(7))
SHARES = np.array([0.17, 0.11, 0.12, 0.22, 0.16, 0.12, 0.10])
UTTERANCES = 12


def made_conversations(
    generator: np.random.Generator, trainings: int, conversations: int, scatter: float = 0.0, skill: float = 0.55
) -> np.ndarray:
    """Counts [training, conversation, true, predicted] of conversations of 12 utterances.

    A conversation has a mood, which makes its emotions, and a pull to some answers, which all trainings share. With
    `scatter`, each training has inclinations of its own besides. A right answer has the chance `skill` before them.
    """
    moods = generator.dirichlet(SHARES * 4, size=conversations)
    labels = (generator.random((conversations, UTTERANCES, 1)) > moods.cumsum(axis=1)[:, None]).sum(axis=2).clip(max=6)
    pull = generator.normal(0, 1.0, (1, conversations, 1, 7))
    inclination = generator.normal(0, 1, (trainings, 7, 7)) * scatter
    chances = np.log((1 - skill) / 7 + skill * np.eye(7))[labels] + pull + inclination[:, labels]
    noise = generator.gumbel(size=(trainings, conversations, UTTERANCES, 7))  # the highest sum: a draw by chance
    predictions = (chances + noise).argmax(axis=-1)  # [training, conversation, utterance]
    counts = np.zeros((trainings, conversations, 7, 7))
    training, conversation, _ = np.indices(predictions.shape)
    np.add.at(counts, (training, conversation, np.broadcast_to(labels, predictions.shape), predictions), 1)
    return counts
