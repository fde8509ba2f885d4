"""The summary of a run: its test score with the interval of a comparison, beside a model of the words alone."""

import numpy as np
import pandas as pd
import pytest

from trimood.config.parameters import CompareParams
from trimood.emotions import EMOTIONS
from trimood.scoring.intervals import count_confusions, draw_conversations, estimate, macro_f1, sample_score
from trimood.scoring.metrics import summary_scores
from trimood.scoring.summary import OnTest, summarize_test, summarize_validation

SETTINGS = CompareParams(baseline="exp1", resamples=200, confidence=0.9, seed=0, runs=())


def table(labels: np.ndarray, predicted: np.ndarray, conversations: int, split: str = "test") -> pd.DataFrame:
    """Predictions whose words say the true emotion."""
    return pd.DataFrame(
        {
            "split": split,
            "conversation_id": np.arange(len(labels)) % conversations,
            "text": [f"so {EMOTIONS[label]} !" for label in labels],
            "label": labels,
            "predicted": [EMOTIONS[number] for number in predicted],
        }
    )


@pytest.fixture
def labels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, len(EMOTIONS), 70)


def summarized(predictions: pd.DataFrame, training: pd.DataFrame | None = None) -> OnTest:
    found = summarize_test(predictions, SETTINGS, training)
    assert found is not None
    return found


def test_the_interval_is_that_of_a_comparison_of_one_seed(labels: np.ndarray) -> None:
    predicted = np.where(np.arange(len(labels)) % 3 == 0, 0, labels)
    found = summarized(table(labels, predicted, conversations=10))
    counts = count_confusions(labels, predicted, np.arange(len(labels)) % 10)
    wanted = estimate(sample_score(macro_f1, counts[None], draw_conversations(10, 200, 0)), 0.9)
    assert (found.macro_f1.low, found.macro_f1.high) == (wanted.low, wanted.high)
    scores = summary_scores(labels, predicted)
    assert found.macro_f1.value == pytest.approx(scores["macro_f1"])
    assert found.weighted_f1 == pytest.approx(scores["weighted_f1"])
    assert (found.utterances, found.conversations, found.tfidf, found.gain) == (70, 10, None, None)


def test_words_that_say_the_emotion_beat_a_model_that_guesses(labels: np.ndarray) -> None:
    training = table(np.arange(70) % 7, np.zeros(70, dtype=int), 10)
    found = summarized(table(labels, np.full(70, 3), conversations=10), training)
    assert found.tfidf == 1
    assert found.gain is not None
    assert found.gain.high is not None
    assert found.gain.value == pytest.approx(found.macro_f1.value - 1)
    assert found.gain.high < 0
    assert set(found.never_predicted) == {*EMOTIONS} - {EMOTIONS[3]}


def test_one_conversation_has_a_score_and_no_interval(labels: np.ndarray) -> None:
    training = table(np.arange(70) % 7, np.zeros(70, dtype=int), 10)
    found = summarized(table(labels, labels, conversations=1), training)
    assert found.macro_f1.model_dump() == {"value": 1, "low": None, "high": None}
    assert found.gain is not None
    assert (found.gain.value, found.gain.low) == (0, None)


@pytest.mark.parametrize("lacking", ["words", "emotions"])
def test_without_words_or_with_one_emotion_tfidf_is_left_out_and_the_run_summarized(
    labels: np.ndarray, lacking: str
) -> None:
    training = table(np.arange(70) % 7, np.zeros(70, dtype=int), 10)
    training = training.assign(text=" ") if lacking == "words" else training.assign(label=1)
    found = summarized(table(labels, labels, conversations=2), training)
    assert (found.macro_f1.value, found.tfidf, found.gain) == (1, None, None)


def test_without_a_test_utterance_only_validation_is_scored(labels: np.ndarray) -> None:
    validation = table(labels, labels, 5, "validation")
    assert summarize_test(validation, SETTINGS) is None
    assert summarize_validation(validation) == 1
