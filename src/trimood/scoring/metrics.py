"""Scores of predicted emotions and emotion-cause pairs, with scikit-learn's definitions."""

from collections.abc import Set
from typing import TypedDict

import numpy as np
from numpy.typing import ArrayLike

from trimood.corpus.causes import CAUSED, CausePair
from trimood.emotions import EMOTIONS

_CLASSES = list(range(len(EMOTIONS)))


class ClassScores(TypedDict):
    """Scores of one emotion; `support` is the number of utterances with this true emotion."""

    precision: float
    recall: float
    f1: float
    support: int


class Report(TypedDict):
    """The scores of one split; `confusion_matrix` counts utterances, rows are true emotions in class order."""

    macro_f1: float
    weighted_f1: float
    accuracy: float
    utterances: int
    per_class: dict[str, ClassScores]
    never_predicted: list[str]
    confusion_matrix: list[list[int]]


Scores = dict[str, Report]
"""The report of each split that has utterances."""


class PairClassScores(TypedDict):
    """Scores of the pairs of one emotion; `pairs` is the number of annotated pairs."""

    precision: float
    recall: float
    f1: float
    pairs: int


class PairScores(TypedDict, total=False):
    """Scores of emotion-cause pairs as defined by the task's organisers; empty if no pairs are annotated."""

    pair_weighted_f1: float
    pair_micro_f1: float
    annotated_pairs: int
    predicted_pairs: int
    right_pairs: int
    per_emotion: dict[str, PairClassScores]


def summary_scores(labels: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Macro F1 over all seven classes (0 for one that neither occurs nor is predicted), weighted F1, accuracy.

    Raises ValueError without utterances, or for a number that is not a class.
    """
    from sklearn.metrics import accuracy_score, f1_score

    true, predicted = _checked(labels, predictions)
    return {
        "macro_f1": float(f1_score(true, predicted, labels=_CLASSES, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(true, predicted, labels=_CLASSES, average="weighted", zero_division=0)),
        "accuracy": float(accuracy_score(true, predicted)),
    }


def f1_by_class(labels: ArrayLike, predictions: ArrayLike) -> np.ndarray:
    """F1 of each emotion, [7] float64; their mean is `macro_f1`. Raises ValueError as `summary_scores` does."""
    from sklearn.metrics import f1_score

    true, predicted = _checked(labels, predictions)
    scores: np.ndarray = f1_score(true, predicted, labels=_CLASSES, average=None, zero_division=0)
    return scores


def classification_report(labels: ArrayLike, predictions: ArrayLike) -> Report:
    """Computes a Report. Raises ValueError as `summary_scores` does."""
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    true, predicted = _checked(labels, predictions)
    rows = precision_recall_fscore_support(true, predicted, labels=_CLASSES, zero_division=0)
    return {
        **summary_scores(true, predicted),  # type: ignore[typeddict-item]  # mypy cannot know that its keys are Report's
        "utterances": len(true),
        "per_class": {
            emotion: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for emotion, p, r, f, n in zip(EMOTIONS, *rows, strict=True)
        },
        "never_predicted": [emotion for number, emotion in enumerate(EMOTIONS) if number not in predicted],
        "confusion_matrix": confusion_matrix(true, predicted, labels=_CLASSES).tolist(),
    }


def _checked(labels: ArrayLike, predictions: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as arrays [utterance] of class numbers; scikit-learn silently ignores numbers that are no class."""
    true, predicted = np.asarray(labels), np.asarray(predictions)
    if true.size == 0:
        raise ValueError("there is no utterance to score. Give a split with utterances.")
    for name, numbers in (("labels", true), ("predictions", predicted)):
        foreign = sorted(set(numbers.tolist()) - set(_CLASSES), key=str)
        if foreign:
            raise ValueError(
                f"the {name} contain {foreign[0]!r}; allowed are 0 to {_CLASSES[-1]}, the class numbers of "
                f"{', '.join(EMOTIONS)}. An utterance without an emotion cannot be scored: leave it out."
            )
    return true, predicted


def pair_scores(annotated: Set[CausePair], predicted: Set[CausePair]) -> PairScores:
    """Computes weighted F1 (the ranking score) and micro F1 of exact pairs over the six emotions, and F1 per emotion.

    A pair is right if utterance, emotion and cause equal those of an annotated pair. Weights are the numbers of
    annotated pairs per emotion, so predicted pairs of an emotion without annotated ones only affect micro F1. Equals
    CodaLab/evaluation in https://github.com/NUSTM/SemEval-2024_ECAC, except that the sums there include 1e-8. Raises
    ValueError if nothing is annotated.
    """
    from sklearn.metrics import f1_score, precision_recall_fscore_support

    if not annotated:
        raise ValueError("there are no annotated pairs to compare with. Give a labelled Subtask 2 file.")
    every = sorted(annotated | predicted)
    columns = {emotion: number for number, emotion in enumerate(CAUSED)}
    true, found = np.zeros((2, len(every), len(CAUSED)), dtype=int)  # [pair, emotion]
    for row, pair in enumerate(every):
        true[row, columns[pair.emotion]] = pair in annotated
        found[row, columns[pair.emotion]] = pair in predicted
    per_emotion = precision_recall_fscore_support(true, found, zero_division=0)
    return {
        "pair_weighted_f1": float(f1_score(true, found, average="weighted", zero_division=0)),
        "pair_micro_f1": float(f1_score(true, found, average="micro", zero_division=0)),
        "annotated_pairs": len(annotated),
        "predicted_pairs": len(predicted),
        "right_pairs": len(annotated & predicted),
        "per_emotion": {
            emotion: {"precision": float(p), "recall": float(r), "f1": float(f), "pairs": int(n)}
            for emotion, p, r, f, n in zip(CAUSED, *per_emotion, strict=True)
        },
    }
