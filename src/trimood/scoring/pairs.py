"""Scores of emotion-cause pairs as the organisers of SemEval-2024 Task 3 define them for Subtask 2."""

from collections.abc import Set
from typing import Any

import numpy as np
from sklearn.metrics import f1_score, precision_recall_fscore_support

from trimood.conversations.causes import CAUSED, Pair


def pair_scores(annotated: Set[Pair], predicted: Set[Pair]) -> dict[str, Any]:
    """Weighted F1 (the ranking score) and micro F1 of exact pairs over the six emotions, and each emotion's own.

    A pair is right where utterance, emotion and cause are all those of an annotated one. Weights are the annotated
    pairs of each emotion; one without any counts nothing, also where it is predicted (but it does in micro F1). As
    CodaLab/evaluation in https://github.com/NUSTM/SemEval-2024_ECAC, whose sums carry 1e-8 more. Raises ValueError
    where nothing is annotated.
    """
    if not annotated:
        raise ValueError("there is no annotated pair to score against. Give a labelled Subtask 2 file.")
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
