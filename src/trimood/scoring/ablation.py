"""Modality ablation: the scores of a trained model with one modality blanked or shuffled."""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from trimood.emotions import EMOTIONS, Modality
from trimood.scoring.metrics import f1_by_class

PERMUTATIONS = 20
"""Number of permutations over which the scores of a shuffled modality are averaged; each takes milliseconds."""

PERMUTATION_SEED = 0
"""The same for all experiments, so that they use the same permutations."""

Embeddings = Mapping[Modality, np.ndarray]


def ablate_modalities(
    labels: ArrayLike, embeddings: Embeddings, predict: Callable[[Embeddings], np.ndarray]
) -> pd.DataFrame:
    """Returns macro F1, F1 of each emotion and their drops: a row for the intact model, two for each modality.

    `embeddings` are those of one split, [utterance, …] for each modality; `predict` returns a class number for each
    utterance. A blanked modality is zero, as if absent. A shuffled modality takes embeddings of other utterances, which
    keeps the distribution but no information; its scores are means over seeded permutations, with the standard
    deviation of macro F1. A drop is the intact score minus the changed score.
    """
    true = np.asarray(labels)
    generator = np.random.default_rng(PERMUTATION_SEED)
    orders = [generator.permutation(len(true)) for _ in range(PERMUTATIONS)]
    intact = f1_by_class(true, predict(embeddings))
    rows = [_row("all", "intact", intact[None], intact)]
    for modality, own in embeddings.items():
        blanked = f1_by_class(true, predict({**embeddings, modality: np.zeros_like(own)}))
        shuffled = [f1_by_class(true, predict({**embeddings, modality: own[order]})) for order in orders]
        rows.append(_row(modality, "blanked", blanked[None], intact))
        rows.append(_row(modality, "shuffled", np.stack(shuffled), intact))
    return pd.DataFrame(rows).astype({"permutations": "Int64", "seed": "Int64"})


def _row(modality: str, change: str, scores: np.ndarray, intact: np.ndarray) -> dict[str, object]:
    """`scores` are [repeat, class], `intact` [class]."""
    f1, macro_f1 = scores.mean(axis=0), scores.mean(axis=1)
    drops = np.round(intact - f1, 9) + 0.0  # a mean of equal scores is off by 1e-16, which would print as -0.00
    is_shuffled = change == "shuffled"
    return {
        "modality": modality,
        "change": change,
        "macro_f1": macro_f1.mean(),
        "macro_f1_drop": drops.mean(),
        "macro_f1_sd": macro_f1.std(ddof=1) if is_shuffled else np.nan,
        **{f"f1_{emotion}": value for emotion, value in zip(EMOTIONS, f1, strict=True)},
        **{f"drop_{emotion}": value for emotion, value in zip(EMOTIONS, drops, strict=True)},
        "permutations": PERMUTATIONS if is_shuffled else None,
        "seed": PERMUTATION_SEED if is_shuffled else None,
    }
