"""Own utterances are scored as far as their true emotions are known, with intervals where they have a meaning."""

import pandas as pd
import pytest

from trimood.scoring.own_clips import score_known


def with_true(*emotions: str, conversations: int = 0) -> pd.DataFrame:
    """Predictions of joy for utterances with these true emotions, in turn of so many conversations."""
    named = [f"c{number % conversations}" if conversations else "" for number in range(len(emotions))]
    return pd.DataFrame({"emotion": emotions, "predicted": "joy", "conversation_id": named}, dtype="str")


def test_where_true_emotions_are_known_the_predictions_are_scored() -> None:
    scores = score_known(with_true("joy", "joy", "fear", "", conversations=2))
    assert scores["utterances"] == 3
    assert scores["per_class"]["joy"]["f1"] == pytest.approx(0.8)
    assert scores["macro_f1"] == pytest.approx(0.8 / 7)
    low, high = scores["intervals"]["macro_f1"]
    assert low < scores["macro_f1"] < high
    assert score_known(with_true("", "")) == {}


@pytest.mark.parametrize("conversations", [0, 1])
def test_of_one_conversation_or_of_none_nobody_knows_an_interval(conversations: int) -> None:
    assert score_known(with_true("joy", "fear", conversations=conversations))["intervals"] == {}


def test_an_utterance_that_stands_alone_takes_the_interval_away() -> None:
    rows = with_true("joy", "fear", "joy", conversations=3)
    rows.loc[2, "conversation_id"] = ""
    assert score_known(rows)["intervals"] == {}
