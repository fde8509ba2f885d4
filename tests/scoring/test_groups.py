"""Scores of groups of utterances."""

import pandas as pd
import pytest

from trimood.emotions import CLASS_NUMBERS
from trimood.scoring.groups import OTHERS, SPEAKERS, group_utterances, score_groups


def conversation(texts: list[str], speakers: list[str], number: int = 1) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "utterance": [f"dia{number}utt{place}" for place in range(3, 3 + len(texts))],
            "conversation_id": number,
            "utterance_id": range(3, 3 + len(texts)),
            "speaker": speakers,
            "text": texts,
        }
    )


NO_EXAMPLES = pd.DataFrame({"utterance": []})


def test_words_and_positions_are_counted_and_their_ranges_are_in_order() -> None:
    texts = ["", "one", "one two three four", "w " * 8, "w " * 30]
    groups = group_utterances(conversation(texts, ["A"] * 5), NO_EXAMPLES)
    assert groups["words"].tolist() == ["0", "1 to 3", "4 to 7", "8 to 15", "16 or more"]
    assert list(groups["words"].cat.categories) == ["0", "1 to 3", "4 to 7", "8 to 15", "16 or more"]
    # By place among what is there: the conversation begins with its third utterance.
    assert groups["position in the conversation"].tolist() == ["1", "2 to 3", "2 to 3", "4 to 7", "4 to 7"]
    assert groups["text"].tolist() == ["absent", *["present"] * 4]
    assert "speaker" not in groups
    assert "video" not in groups


def test_rare_speakers_share_a_group_that_comes_last() -> None:
    names = [f"S{number}" for number in range(SPEAKERS + 2)]
    speakers = [name for place, name in enumerate(names) for _ in range(20 - place)]
    groups = group_utterances(conversation(["so"] * len(speakers), speakers), NO_EXAMPLES)
    assert list(groups["speaker"].cat.categories) == [*names[:SPEAKERS], OTHERS]
    assert (groups["speaker"] == OTHERS).sum() == (20 - SPEAKERS) + (19 - SPEAKERS)


def test_presence_is_that_of_the_examples_if_they_have_all_utterances() -> None:
    rows = conversation(["so", "oh"], ["A", "B"])
    examples = pd.DataFrame({"utterance": rows["utterance"], "has_video": [True, False], "has_audio": [True, True]})
    groups = group_utterances(rows, examples.iloc[::-1])
    assert groups["video"].tolist() == ["present", "absent"]
    assert groups["audio"].tolist() == ["present", "present"]
    assert "video" not in group_utterances(rows, examples.iloc[:1])


def test_scores_are_means_over_seeds_and_over_the_emotions_that_occur() -> None:
    rows = conversation(["so"] * 4, ["A", "A", "A", "B"])
    emotions = ["joy", "joy", "fear", "joy"]
    tables = [
        rows.assign(
            system="exp1",
            seed=seed,
            emotion=emotions,
            label=[CLASS_NUMBERS[emotion] for emotion in emotions],
            predicted=predicted,
        )
        for seed, predicted in ((1, ["joy", "joy", "fear", "fear"]), (2, ["joy", "anger", "joy", "fear"]))
    ]
    groups = {"speaker": group_utterances(rows, NO_EXAMPLES)["speaker"]}
    first, second = score_groups(pd.concat(tables), groups).to_dict("records")
    assert (first["group"], first["utterances"], first["emotions"]) == ("A", 3, 2)
    assert first["accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    # Seed 2: joy is 1 of 2 predicted and 1 of 2 true, F1 0.5; fear 0. Over all seven it would be much less.
    assert first["macro_f1"] == pytest.approx((1 + 0.25) / 2)
    assert (second["group"], second["utterances"], second["accuracy"], second["macro_f1"]) == ("B", 1, 0, 0)
