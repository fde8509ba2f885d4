"""Own utterances are scored as far as their true emotions are known, with intervals where they have a meaning."""

import pandas as pd
import pytest

from trimood.scoring.own_clips import FEWEST_CONVERSATIONS, score_known


def with_true(*emotions: str, conversations: int = 0) -> pd.DataFrame:
    """Predictions of joy for utterances with these true emotions, in turn of so many conversations."""
    named = [f"c{number % conversations}" if conversations else "" for number in range(len(emotions))]
    return pd.DataFrame({"emotion": emotions, "predicted": "joy", "conversation_id": named}, dtype="str")


def test_where_true_emotions_are_known_the_predictions_are_scored() -> None:
    scores = score_known(with_true(*["joy", "joy", "fear"] * 6, "", conversations=6))
    assert scores["utterances"] == 18
    assert scores["per_class"]["joy"]["f1"] == pytest.approx(0.8)
    assert scores["macro_f1"] == pytest.approx(0.8 / 2)  # joy and fear occur
    assert scores["emotions"] == 2
    low, high = scores["intervals"]["macro_f1"]
    assert low < scores["macro_f1"] < high
    assert scores["no_interval"] == ""
    assert score_known(with_true("", "")) == {}


def test_twenty_utterances_of_two_emotions_that_are_all_right_have_a_macro_f1_of_one() -> None:
    rows = with_true(*["joy", "anger"] * 10, conversations=5)
    scores = score_known(rows.assign(predicted=rows["emotion"]))
    assert (scores["macro_f1"], scores["emotions"]) == (1, 2)
    assert scores["intervals"]["macro_f1"][0] < 0.9


@pytest.mark.parametrize(
    ("conversations", "why"),
    [
        (0, "not all of these utterances are in conversations"),
        (1, "1 conversation is too few, 5 are needed"),
        (4, "4 conversations are too few, 5 are needed"),
    ],
)
def test_of_few_conversations_or_of_none_nobody_knows_an_interval(conversations: int, why: str) -> None:
    scores = score_known(with_true(*["joy", "fear", "joy"] * 4, conversations=conversations))
    assert (scores["intervals"], scores["no_interval"]) == ({}, why)


def test_where_all_conversations_score_the_same_there_is_no_interval_rather_than_one_without_width() -> None:
    alike = [emotion for emotion in ("joy", "joy", "fear") for _ in range(FEWEST_CONVERSATIONS)]
    scores = score_known(with_true(*alike, conversations=FEWEST_CONVERSATIONS))
    assert (scores["intervals"], scores["macro_f1"]) == ({}, pytest.approx(0.4))
    assert scores["no_interval"] == "the score is the same whichever conversations are drawn"


def test_an_utterance_that_stands_alone_takes_the_interval_away() -> None:
    rows = with_true(*["joy", "fear", "joy"] * 6, conversations=6)
    assert score_known(rows)["intervals"]
    rows.loc[2, "conversation_id"] = ""
    assert score_known(rows)["intervals"] == {}
