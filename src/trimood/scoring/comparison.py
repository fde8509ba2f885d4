"""Many systems on the same test utterances: scores, intervals, differences, calibration, as one JSON-able tree."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from trimood.emotions import EMOTIONS
from trimood.scoring.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability,
    with_temperature,
)
from trimood.scoring.intervals import (
    Sampled,
    count_confusions,
    differences,
    draw_conversations,
    estimate,
    f1_of_classes,
    macro_f1,
    sample_score,
    weighted_f1,
)

CHANCES = [f"p_{emotion}" for emotion in EMOTIONS]


def compare_systems(
    predictions: pd.DataFrame, baseline: str, resamples: int, confidence: float, seed: int
) -> dict[str, dict[str, Any]]:
    """What each system reaches, by its name, in the order of `predictions`.

    `predictions` has a row for each system, seed, split and utterance, all systems with the same utterances in the same
    order. Every score is the mean over a system's seeds; all systems are scored on the same draws of conversations.
    """
    counts = {str(name): _counts(rows, "test") for name, rows in predictions.groupby("system", sort=False)}
    draws = draw_conversations(next(iter(counts.values())).shape[1], resamples, seed)
    macro = {name: sample_score(macro_f1, of, draws) for name, of in counts.items()}
    weighted = {name: sample_score(weighted_f1, of, draws) for name, of in counts.items()}
    against = differences(macro, baseline, confidence)
    found = {}
    for name, rows in predictions.groupby("system", sort=False):
        found[str(name)] = {
            "seeds": rows["seed"].unique().tolist(),
            "validation_macro_f1": float(macro_f1(_counts(rows, "validation").sum(axis=1)).mean()),
            "macro_f1": _score(macro[str(name)], confidence),
            "weighted_f1": _score(weighted[str(name)], confidence),
            "difference": asdict(against[str(name)]) if name in against else None,
            **_by_class(counts[str(name)]),
            "calibration": _calibration(rows),
        }
    return found


def _counts(rows: pd.DataFrame, split: str) -> np.ndarray:
    """[seed, conversation, true, predicted]"""
    numbers = {emotion: number for number, emotion in enumerate(EMOTIONS)}
    of_split = rows[rows["split"] == split].groupby("seed", sort=False)
    return np.stack(
        [
            count_confusions(of["label"].astype(int), of["predicted"].map(numbers).astype(int), of["conversation_id"])
            for _, of in of_split
        ]
    )


def _score(sampled: Sampled, confidence: float) -> dict[str, Any]:
    found = estimate(sampled, confidence)
    scatter = float(sampled.of_seeds.std(ddof=1)) if len(sampled.of_seeds) > 1 else None
    return {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "sd_over_seeds": scatter,
        "of_seeds": sampled.of_seeds.tolist(),
    }


def _by_class(counts: np.ndarray) -> dict[str, Any]:
    """F1 as the mean over seeds, the matrix as their sum, and of how many seeds a class is never the answer."""
    whole = counts.sum(axis=1)  # [seed, true, predicted]
    never = (whole.sum(axis=1) == 0).sum(axis=0)
    f1 = f1_of_classes(whole).mean(axis=0)
    return {
        "f1_of_classes": {emotion: float(of) for emotion, of in zip(EMOTIONS, f1, strict=True)},
        "confusion_matrix": whole.sum(axis=0).astype(int).tolist(),
        "never_predicted": {emotion: int(of) for emotion, of in zip(EMOTIONS, never, strict=True) if of},
    }


def _calibration(rows: pd.DataFrame) -> dict[str, Any] | None:
    """Test figures as means over seeds, before and after each seed's own temperature, which validation has set.

    None where the probabilities are no opinions: a system that is always certain.
    """
    if (rows[CHANCES].max(axis=1) == 1).all():
        return None
    before, after = [], []
    temperatures: list[float] = []
    for _, of_seed in rows.groupby("seed", sort=False):
        validation, test = (of_seed[of_seed["split"] == split] for split in ("validation", "test"))
        temperatures.append(fit_temperature(validation["label"].astype(int), validation[CHANCES]))
        before.append((test["label"].to_numpy(dtype=int), test[CHANCES].to_numpy()))
        after.append((before[-1][0], with_temperature(before[-1][1], temperatures[-1])))
    return {
        "temperature": float(np.mean(temperatures)),
        "temperature_of_seeds": temperatures,
        "before": _calibration_figures(before),
        "after": _calibration_figures(after),
    }


def _calibration_figures(seeds: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """The curve is of all seeds' answers together."""
    together = [np.concatenate(parts) for parts in zip(*seeds, strict=True)]
    return {
        "ece": float(np.mean([expected_calibration_error(*of) for of in seeds])),
        "nll": float(np.mean([negative_log_likelihood(*of) for of in seeds])),
        "reliability": reliability(*together).to_dict("records"),
    }
