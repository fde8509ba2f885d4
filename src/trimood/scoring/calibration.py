"""Calibration: the difference between confidence and accuracy, and temperature scaling."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

BINS = 15
"""Number of bins of equal width, as in Guo et al. 2017 (On Calibration of Modern Neural Networks, ICML)."""

LEAST_UTTERANCES = 10
"""Fewer say too little about confidence: fitted on two right answers, any answer would become certain."""

_LEAST = 1e-12
"""Lower limit of probabilities, so that a confident mistake has a finite loss."""


class CalibrationScores(BaseModel):
    """Expected calibration error (0 to 1) and negative log-likelihood (nats) of one set of probabilities."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    expected_calibration_error: float
    negative_log_likelihood: float


class Calibration(BaseModel):
    """A temperature, and the scores before and after applying it; `not_fitted` says why it is 1 instead of a fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    temperature: float
    not_fitted: str | None = None
    before: CalibrationScores
    after: CalibrationScores


def calibrate(
    labels: ArrayLike, probabilities: ArrayLike, scored_on: tuple[ArrayLike, ArrayLike] | None = None
) -> Calibration:
    """Fits the temperature on class numbers [utterance] and probabilities [utterance, class], and scores it.

    The scores are those of the same utterances, or of the labels and probabilities in `scored_on`: fit on the
    validation split, score on the test split.
    """
    temperature, not_fitted = _fit(np.asarray(labels), np.asarray(probabilities, dtype=float))
    true, chances = scored_on or (labels, probabilities)
    after = with_temperature(chances, temperature)
    return Calibration(
        temperature=temperature, not_fitted=not_fitted, before=_scores(true, chances), after=_scores(true, after)
    )


def made_worse(before: CalibrationScores, after: CalibrationScores) -> str:
    """The scores that a temperature makes worse, such as "ECE 0.073 to 0.140"; empty if there are none."""
    measures = {"ECE": "expected_calibration_error", "NLL": "negative_log_likelihood"}
    values = {name: (getattr(before, field), getattr(after, field)) for name, field in measures.items()}
    return ", ".join(f"{name} {low:.3f} to {high:.3f}" for name, (low, high) in values.items() if high > low + _VISIBLE)


def _scores(labels: ArrayLike, probabilities: ArrayLike) -> CalibrationScores:
    return CalibrationScores(
        expected_calibration_error=expected_calibration_error(labels, probabilities),
        negative_log_likelihood=negative_log_likelihood(labels, probabilities),
    )


def reliability(labels: ArrayLike, probabilities: ArrayLike) -> pd.DataFrame:
    """Number of utterances, mean confidence and accuracy in each bin of the highest probability, without empty bins.

    A bin includes its upper end, as in Guo et al.: with 15 bins, confidence 0.2 is in the third.
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
    table.insert(0, "lower", edges[table.index])
    table.insert(1, "upper", edges[table.index + 1])
    return table.reset_index(drop=True)


def expected_calibration_error(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean absolute difference of confidence and accuracy per bin, weighted by size; 0 is perfect (Guo et al.)."""
    bins = reliability(labels, probabilities)
    share = bins["utterances"] / bins["utterances"].sum()
    return float((share * (bins["accuracy"] - bins["confidence"]).abs()).sum())


def negative_log_likelihood(labels: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean over utterances, in nats: the cross-entropy loss."""
    chances, true = np.asarray(probabilities, dtype=float), np.asarray(labels)
    of_true = chances[np.arange(len(true)), true]
    return float(-np.log(np.maximum(of_true, _LEAST)).mean())


def with_temperature(probabilities: ArrayLike, temperature: float) -> np.ndarray:
    """Softmax of the logits divided by the temperature; above 1, confidence is lower. Keeps the predicted classes."""
    from scipy.special import softmax

    chances = np.asarray(probabilities, dtype=float)
    if temperature == 1:
        return chances  # to the bit
    logits = np.log(np.maximum(chances, _LEAST))  # up to a constant per utterance
    return np.asarray(softmax(logits / temperature, axis=1))


def _fit(labels: np.ndarray, chances: np.ndarray) -> tuple[float, str | None]:
    """The temperature between 0.01 and 100 with the lowest negative log-likelihood, or 1 and the reason for it."""
    from scipy.optimize import minimize_scalar

    if reason := _too_little(labels, chances):
        return 1.0, reason

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(labels, with_temperature(chances, float(np.exp(log_temperature))))

    ends = (float(np.log(0.01)), float(np.log(100)))
    best = float(minimize_scalar(loss, bounds=ends, method="bounded", options={"xatol": 1e-6}).x)
    if min(best - ends[0], ends[1] - best) < _AT_THE_END:
        return 1.0, "no temperature between 0.01 and 100 fits best"
    return float(np.exp(best)), None


def _too_little(labels: np.ndarray, chances: np.ndarray) -> str | None:
    """Why nothing about confidence can be learnt from these answers, if so."""
    if len(labels) < LEAST_UTTERANCES:
        return f"{len(labels)} utterances are too few; at least {LEAST_UTTERANCES} are needed"
    right = chances.argmax(axis=1) == labels
    reasons = {
        "all utterances have the same emotion": len(np.unique(labels)) == 1,
        "all answers are right, so more confidence would always fit better": right.all(),
        "all answers are wrong, so less confidence would always fit better": not right.any(),
        "all emotions are equally likely in every answer": np.ptp(chances, axis=1).max() < _VISIBLE,
    }
    return next((words for words, applies in reasons.items() if applies), None)


_AT_THE_END = 0.01
"""Distance to the ends of the range of log temperatures within which the optimum is taken to lie beyond."""

_VISIBLE = 0.0005
"""Smaller differences do not show in three decimals."""
