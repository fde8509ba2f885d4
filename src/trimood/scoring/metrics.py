"""Scores of predicted against true emotions, with scikit-learn's definitions."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from trimood.emotions import EMOTIONS

_CLASSES = list(range(len(EMOTIONS)))


def summary_scores(labels: ArrayLike, predictions: ArrayLike) -> dict[str, float]:
    """Macro F1 over all seven classes (one that neither occurs nor is predicted counts 0), weighted F1, accuracy."""
    return {
        "macro_f1": float(f1_score(labels, predictions, labels=_CLASSES, average="macro", zero_division=0)),
        "weighted_f1": float(f1_score(labels, predictions, labels=_CLASSES, average="weighted", zero_division=0)),
        "accuracy": float(accuracy_score(labels, predictions)),
    }


def classification_report(labels: ArrayLike, predictions: ArrayLike) -> dict[str, Any]:
    """The summary; precision, recall, F1, support per class; the confusion matrix (rows true); the never predicted."""
    rows = precision_recall_fscore_support(labels, predictions, labels=_CLASSES, zero_division=0)
    predicted = set(np.asarray(predictions).tolist())
    return {
        **summary_scores(labels, predictions),
        "utterances": len(np.asarray(labels)),
        "per_class": {
            emotion: {"precision": float(p), "recall": float(r), "f1": float(f), "support": int(n)}
            for emotion, p, r, f, n in zip(EMOTIONS, *rows, strict=True)
        },
        "never_predicted": [emotion for number, emotion in enumerate(EMOTIONS) if number not in predicted],
        "confusion_matrix": confusion_matrix(labels, predictions, labels=_CLASSES).tolist(),
    }
