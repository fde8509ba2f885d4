"""Pair scores against cases counted by hand, and against the organisers' figure for the labelled test file."""

import pytest

from support.shared_data import SHARED, needs_shared
from trimood.corpus.causes import CausePair, caused_by_themselves, read_pairs, submitted_pairs
from trimood.corpus.ecf import read_ecf
from trimood.scoring.metrics import pair_scores

ANNOTATED = {
    CausePair(1, 1, "joy", 1),
    CausePair(1, 3, "joy", 1),
    CausePair(1, 3, "joy", 2),
    CausePair(2, 1, "anger", 1),
}


def test_a_pair_is_right_when_utterance_emotion_and_cause_are() -> None:
    predicted = {
        CausePair(1, 1, "joy", 1),  # right
        CausePair(1, 3, "joy", 3),  # another cause
        CausePair(2, 1, "sadness", 1),  # another emotion
        CausePair(3, 1, "anger", 1),  # another conversation
    }
    scores = pair_scores(ANNOTATED, predicted)
    # joy: 1 of 2 predicted and 1 of 3 annotated are right, F1 2/5; anger: none. Weights 3/4 and 1/4.
    assert scores["per_emotion"]["joy"] == {"precision": 1 / 2, "recall": 1 / 3, "f1": pytest.approx(2 / 5), "pairs": 3}
    assert scores["pair_weighted_f1"] == pytest.approx(3 / 4 * 2 / 5)
    # 1 of 4 predicted, 1 of 4 annotated: sadness counts here, though nothing is annotated as sad.
    assert scores["pair_micro_f1"] == pytest.approx(1 / 4)
    assert (scores["annotated_pairs"], scores["predicted_pairs"], scores["right_pairs"]) == (4, 4, 1)


def test_all_right_is_one_and_nothing_predicted_is_zero() -> None:
    assert pair_scores(ANNOTATED, ANNOTATED)["pair_weighted_f1"] == 1
    nothing = pair_scores(ANNOTATED, set())
    assert (nothing["pair_weighted_f1"], nothing["pair_micro_f1"]) == (0, 0)


def test_an_emotion_that_is_predicted_in_vain_lowers_the_micro_score_alone() -> None:
    scores = pair_scores(ANNOTATED, ANNOTATED | {CausePair(1, 2, "fear", 2)})
    assert scores["pair_weighted_f1"] == 1
    assert scores["pair_micro_f1"] == pytest.approx(2 * 4 / (4 + 5))


def test_without_an_annotated_pair_there_is_no_score() -> None:
    with pytest.raises(ValueError, match="no annotated pairs to compare with"):
        pair_scores(set(), ANNOTATED)


@pytest.mark.slow
@needs_shared
def test_true_emotions_that_cause_themselves_score_what_is_known_of_the_official_test_file() -> None:
    assert SHARED
    path = SHARED / "reference" / "ecf2" / "Subtask_2_test.json"
    utterances = read_ecf(path)
    true = dict(zip(utterances["utterance"], utterances["emotion"], strict=True))
    annotated = read_pairs(path)
    assert annotated
    scores = pair_scores(annotated, submitted_pairs(caused_by_themselves(utterances, true), utterances))
    assert scores["pair_weighted_f1"] == pytest.approx(0.567, abs=5e-4)
    assert scores["annotated_pairs"] == len(annotated) == 2462
    assert scores["right_pairs"] < scores["predicted_pairs"] < scores["annotated_pairs"]
