import numpy as np
import pytest

from trimood.emotions import EMOTIONS
from trimood.scoring.metrics import classification_report, summary_scores

NUMBER = {emotion: number for number, emotion in enumerate(EMOTIONS)}
OFFICIAL_TEST = {
    "surprise": 363,
    "fear": 151,
    "sadness": 249,
    "neutral": 1280,
    "joy": 700,
    "anger": 235,
    "disgust": 123,
}
"""Utterances of each emotion in the official test file of SemEval-2024 Task 3, Subtask 2."""


def numbers(*emotions: str) -> list[int]:
    return [NUMBER[emotion] for emotion in emotions]


def of_balance(counts: dict[str, int]) -> np.ndarray:
    return np.repeat([NUMBER[emotion] for emotion in counts], list(counts.values()))


def test_scores_of_five_utterances_are_those_worked_out_by_hand() -> None:
    labels = numbers("joy", "joy", "joy", "anger", "fear")
    predictions = numbers("joy", "joy", "anger", "anger", "joy")
    report = classification_report(labels, predictions)
    # joy: 2 of 3 predicted are right, 2 of 3 true are found; anger: 1 of 2, 1 of 1; fear: none found.
    assert report["per_class"]["joy"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "support": 3})
    assert report["per_class"]["anger"] == pytest.approx({"precision": 1 / 2, "recall": 1, "f1": 2 / 3, "support": 1})
    assert report["per_class"]["fear"] == pytest.approx({"precision": 0, "recall": 0, "f1": 0, "support": 1})
    assert report["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 7)
    assert report["weighted_f1"] == pytest.approx((3 * 2 / 3 + 1 * 2 / 3) / 5)
    assert report["accuracy"] == pytest.approx(3 / 5)
    assert report["utterances"] == 5


def test_macro_f1_counts_the_classes_that_neither_occur_nor_are_predicted_as_zero() -> None:
    perfect = numbers("joy", "anger")
    assert summary_scores(perfect, perfect)["macro_f1"] == pytest.approx(2 / 7)
    assert summary_scores(perfect, perfect)["weighted_f1"] == pytest.approx(1)
    everything = list(range(7))
    assert summary_scores(everything, everything)["macro_f1"] == pytest.approx(1)


def test_all_neutral_on_the_official_test_scores_what_arithmetic_says_and_less_than_a_model_that_knows_joy() -> None:
    labels = of_balance(OFFICIAL_TEST)
    assert len(labels) == 3101
    trivial = summary_scores(labels, np.full(3101, NUMBER["neutral"]))
    share = 1280 / 3101
    f1 = 2 * share / (share + 1)  # precision is the share of neutral, recall is 1
    assert trivial["macro_f1"] == pytest.approx(f1 / 7)
    assert trivial["weighted_f1"] == pytest.approx(f1 * share)
    assert (round(trivial["macro_f1"], 3), round(trivial["weighted_f1"], 3)) == (0.083, 0.241)

    knows_joy = np.where(labels == NUMBER["joy"], NUMBER["joy"], NUMBER["neutral"])
    assert summary_scores(labels, knows_joy)["macro_f1"] > 2 * trivial["macro_f1"]


def test_macro_and_weighted_f1_are_not_mixed_up() -> None:
    labels = of_balance({"neutral": 90, "disgust": 10})
    scores = summary_scores(labels, np.full(100, NUMBER["neutral"]))
    assert scores["macro_f1"] == pytest.approx((2 * 0.9 / 1.9) / 7)
    assert scores["weighted_f1"] == pytest.approx(0.9 * 2 * 0.9 / 1.9)
    assert scores["accuracy"] == pytest.approx(0.9)


def test_rows_of_the_confusion_matrix_are_true_and_columns_predicted() -> None:
    matrix = np.array(
        classification_report(numbers("joy", "joy", "fear"), numbers("anger", "joy", "joy"))["confusion_matrix"]
    )
    assert matrix.shape == (7, 7)
    assert matrix[NUMBER["joy"], NUMBER["anger"]] == 1
    assert matrix[NUMBER["anger"], NUMBER["joy"]] == 0
    assert matrix[NUMBER["fear"], NUMBER["joy"]] == 1
    assert matrix.sum() == 3


def test_emotions_that_are_never_predicted_are_named_in_class_order() -> None:
    report = classification_report(numbers("joy", "fear"), numbers("neutral", "joy"))
    assert report["never_predicted"] == ["surprise", "fear", "sadness", "anger", "disgust"]
    assert classification_report(range(7), range(7))["never_predicted"] == []


def test_the_report_is_plain_json() -> None:
    report = classification_report(np.array([0, 1]), np.array([0, 0]))
    assert {type(value) for row in report["per_class"].values() for value in row.values()} == {float, int}
    assert type(report["utterances"]) is int
    assert type(report["confusion_matrix"][0][0]) is int


def test_nothing_to_score_is_an_error_and_no_score_of_zero() -> None:
    for scores in (summary_scores, classification_report):
        with pytest.raises(ValueError, match=r"no utterance to score\. Give a split with utterances"):
            scores([], [])


def test_a_number_that_is_no_class_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"the labels contain 7; allowed are 0 to 6, the class numbers of surprise, fear"
    ):
        summary_scores([0, 7], [0, 3])
    with pytest.raises(ValueError, match=r"the labels contain None; .* leave it out"):
        classification_report([0, None], [0, 3])
    with pytest.raises(ValueError, match=r"the predictions contain -1"):
        summary_scores([0, 3], [0, -1])


def test_labels_and_predictions_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        classification_report([0, 1], [0])
