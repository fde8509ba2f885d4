"""Whether a probability means what it says: confidence against accuracy, and the temperature that mends it."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

BINS = 15
"""Of equal width between 0 and 1, as in Guo et al. 2017 (On Calibration of Modern Neural Networks, ICML)."""

_LEAST = 1e-12
"""A probability of zero counts as this much, so that a confident mistake has a loss that is a number."""


def reliability(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Utterances, mean confidence and accuracy in each bin of the highest probability; empty bins are left out.

    A bin holds its upper end: confidence 0.2 of 15 bins is in the third, as in Guo et al.
    """
    chances = np.asarray(probabilities, dtype=float)  # [utterance, class]
    confidence = chances.max(axis=1)
    right = chances.argmax(axis=1) == np.asarray(labels)
    edges = np.linspace(0, 1, BINS + 1)
    number = np.digitize(confidence, edges[1:-1], right=True)
    rows = pd.DataFrame({"bin": number, "confidence": confidence, "accuracy": right.astype(float)}).groupby("bin")
    table = rows.agg(
        utterances=("confidence", "size"), confidence=("confidence", "mean"), accuracy=("accuracy", "mean")
    )
    table.insert(0, "from", edges[table.index])
    table.insert(1, "to", edges[table.index + 1])
    return table.reset_index(drop=True)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Distance of confidence from accuracy in a bin, mean over utterances; 0 where every bin is as it says."""
    bins = reliability(labels, probabilities)
    share = bins["utterances"] / bins["utterances"].sum()
    return float((share * (bins["accuracy"] - bins["confidence"]).abs()).sum())


def negative_log_likelihood(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean over utterances, in nats: the cross-entropy loss."""
    chances, true = np.asarray(probabilities, dtype=float), np.asarray(labels)
    of_true = chances[np.arange(len(true)), true]
    return float(-np.log(np.maximum(of_true, _LEAST)).mean())


def with_temperature(probabilities: ArrayLike, temperature: float) -> np.ndarray:
    """The softmax of the logits divided by the temperature; above 1 it is less sure. The winner stays the winner."""
    from scipy.special import softmax

    logits = np.log(np.maximum(np.asarray(probabilities, dtype=float), _LEAST))  # up to a constant of each utterance
    return np.asarray(softmax(logits / temperature, axis=1))


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """The temperature between 0.01 and 100 with the lowest negative log-likelihood, to be fitted on validation."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(labels, with_temperature(probabilities, float(np.exp(log_temperature))))

    ends = (float(np.log(0.01)), float(np.log(100)))
    return float(np.exp(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6}).x))
