"""What a person asks first about a finished run: its test score, how sure it is, and whether it beats words alone."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pandas as pd

from trimood.config.parameters import CompareParams
from trimood.emotions import CLASS_NUMBERS, EMOTIONS
from trimood.scoring.baselines import tfidf
from trimood.scoring.intervals import (
    count_confusions,
    difference,
    draw_conversations,
    estimate,
    macro_f1,
    sample_score,
    weighted_f1,
)
from trimood.scoring.systems import Stored


class Range(Stored):
    """A score or a difference with its interval over other test conversations; without an interval if there is one."""

    value: float
    low: float | None = None
    high: float | None = None


class OnTest(Stored):
    """The test split: `tfidf` is the macro F1 of TF-IDF on the same utterances, `gain` the run's minus that one.

    Both are None if nothing can be fitted: without training examples, as for imported weights, or without words.
    """

    utterances: int
    conversations: int
    macro_f1: Range
    weighted_f1: float
    tfidf: float | None = None
    gain: Range | None = None
    never_predicted: tuple[str, ...]


class RunSummary(Stored):
    """A run in a few numbers, stored beside its scores; `test` is None if there is no test utterance.

    `trained` says in words what was trained. `excluded` counts clips by policy, `drop` or `blank`; None if the run does
    not know. `confidence` is that of all intervals, from 0.5 to 1; they cover other conversations and not other seeds.
    """

    experiment: str
    seed: int
    imported: bool
    trained: str
    confidence: float
    validation_macro_f1: float
    test: OnTest | None
    excluded: dict[str, int] | None = None

    @property
    def name(self) -> str:
        """The experiment and its seed, or that its weights were imported."""
        return f"{self.experiment}, {'imported' if self.imported else f'seed {self.seed}'}"


def summarize_validation(predictions: pd.DataFrame) -> float:
    """Returns macro F1 of the validation utterances of a table of predictions."""
    return float(macro_f1(_counts(predictions[predictions["split"] == "validation"]).sum(axis=0)))


def summarize_test(
    predictions: pd.DataFrame, settings: CompareParams, training_examples: pd.DataFrame | None = None
) -> OnTest | None:
    """Summarizes the test utterances of a table of predictions; None if there are none.

    With `training_examples`, TF-IDF is fitted on them and scored on the same utterances. Intervals are those that
    `comparison` computes for a single seed: of the same draws, with the same confidence.
    """
    test = predictions[predictions["split"] == "test"]
    if test.empty:
        return None
    counts = _counts(test)  # [conversation, true, predicted]
    has_interval = len(counts) > 1
    draws = draw_conversations(len(counts), settings.resamples, settings.seed) if has_interval else np.ones((1, 1))
    sampled = sample_score(macro_f1, counts[None], draws)
    found = estimate(sampled, settings.confidence)
    value = float(macro_f1(counts.sum(axis=0)))
    summary = OnTest(
        utterances=len(test),
        conversations=len(counts),
        macro_f1=Range(value=value, low=found.low, high=found.high) if has_interval else Range(value=value),
        weighted_f1=float(weighted_f1(counts.sum(axis=0))),
        never_predicted=tuple(name for number, name in enumerate(EMOTIONS) if not counts[:, :, number].any()),
    )
    if training_examples is None or not _can_be_fitted(training_examples):
        return summary
    words, labels = tuple(training_examples["text"]), tuple(training_examples["label"].astype(int))
    of_words = _counts(test.assign(predicted=_predict_by_words(words, labels, tuple(test["text"]))))
    other = sample_score(macro_f1, of_words[None], draws)
    gain = difference(sampled, other, settings.confidence)
    return summary.model_copy(
        update={
            "tfidf": float(other.of_seeds[0]),
            "gain": Range(value=gain.value, low=gain.low, high=gain.high) if has_interval else Range(value=gain.value),
        }
    )


def _can_be_fitted(training_examples: pd.DataFrame) -> bool:
    return bool(training_examples["text"].str.strip().any()) and training_examples["label"].nunique() > 1


@lru_cache(maxsize=1)  # all experiments and seeds of a command have the same; it takes 9 s for ECF
def _predict_by_words(words: tuple[str, ...], labels: tuple[int, ...], test_words: tuple[str, ...]) -> Sequence[str]:
    (chances,) = tfidf(list(words), labels, list(test_words), "balanced")
    return [EMOTIONS[number] for number in chances.argmax(axis=1)]


def _counts(rows: pd.DataFrame) -> np.ndarray:
    """[conversation, true, predicted]"""
    predicted = rows["predicted"].map(CLASS_NUMBERS).astype(int)
    return count_confusions(rows["label"].astype(int), predicted, rows["conversation_id"])
