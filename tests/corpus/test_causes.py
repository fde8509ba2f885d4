"""Emotion-cause pairs in the task's format: made of emotions, read back, refused where its scorer would stop."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from support.made_corpus import made_conversation, write_ecf
from trimood.corpus.causes import CausePair, SubmissionError, caused_by_themselves, read_pairs, submitted_pairs
from trimood.corpus.ecf import read_ecf, utterance_table

# Conversations in no order of their ids, as in the official file; the second has no label.
CONVERSATIONS = [made_conversation(9, ["joy", "neutral", "fear"]), made_conversation(4, [None, None])]
PREDICTED = {"dia9utt1": "joy", "dia9utt2": "neutral", "dia9utt3": "anger", "dia4utt2": "surprise"}


@pytest.fixture
def utterances(tmp_path: Path):
    return read_ecf(write_ecf(tmp_path, CONVERSATIONS, "Subtask_2_test.json"))


def test_each_utterance_that_is_not_neutral_causes_itself_and_all_else_is_the_official_file(utterances) -> None:
    first, second = caused_by_themselves(utterances, PREDICTED)
    assert first["emotion-cause_pairs"] == [["1_joy", "1"], ["3_anger", "3"]]
    assert second["emotion-cause_pairs"] == [["2_surprise", "2"]]  # utterance 1 was not predicted
    for made, official in zip((first, second), CONVERSATIONS, strict=True):
        assert list(made) == ["conversation_ID", "conversation", "emotion-cause_pairs"]
        assert made["conversation_ID"] == official["conversation_ID"]
        words = [{k: v for k, v in utterance.items() if k != "emotion"} for utterance in official["conversation"]]
        assert made["conversation"] == words


def test_what_is_made_reads_back_as_its_pairs(utterances) -> None:
    assert submitted_pairs(caused_by_themselves(utterances, PREDICTED), utterances) == {
        CausePair(9, 1, "joy", 1),
        CausePair(9, 3, "anger", 3),
        CausePair(4, 2, "surprise", 2),
    }


def test_annotated_pairs_are_read_and_a_subtask_1_file_has_not_all_of_them(tmp_path: Path) -> None:
    labelled = made_conversation(9, ["joy", "fear"]) | {"emotion-cause_pairs": [["1_joy", "1"], ["2_fear", "1"]]}
    found = read_pairs(write_ecf(tmp_path, [labelled], "Subtask_2_test.json"))
    assert found == {CausePair(9, 1, "joy", 1), CausePair(9, 2, "fear", 1)}
    assert read_pairs(write_ecf(tmp_path, [labelled], "Subtask_1_test.json")) is None
    unlabelled = {k: v for k, v in made_conversation(9, [None]).items() if k != "emotion-cause_pairs"}
    assert read_pairs(write_ecf(tmp_path, [unlabelled], "Subtask_2_test_eval_release_unlabelled.json")) is None


def changed(submission: list[dict[str, Any]], place: str, value: Any) -> Any:
    other = copy.deepcopy(submission)
    if place == "pairs":
        other[0]["emotion-cause_pairs"] = value
    elif place == "add":
        other.append(value)
    elif place == "remove":
        other.pop(value)
    elif place == "drop":
        del other[0][value]
    else:
        other[0][place] = value
    return other


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("pairs", [["1_happiness", "1"]], r'conversation 9, .*got .*1_happiness.*expected \["3_surprise", "1"\]'),
        ("pairs", [["1_neutral", "1"]], r"got .*1_neutral.*expected"),
        ("pairs", [["one_joy", "1"]], r"one_joy.*expected"),
        ("pairs", [["1_joy", "1_what a day"]], r"what a day.*expected"),
        ("pairs", [["1_joy", 1]], r"got 1: Input should be a valid string"),
        ("pairs", [["1_joy"]], r"conversation 9"),
        ("pairs", [["1_joy", "4"]], r"conversation 9: the pair \['1_joy', '4'\] names an utterance that"),
        ("pairs", [["1_joy", "1"]] * 2, r"the pair \['1_joy', '1'\] occurs 2 times"),
        ("drop", "emotion-cause_pairs", r"conversation 9, emotion-cause_pairs: .*Field required"),
        ("conversation_ID", 4, r"(?s)conversation 9 of the official file is missing.*conversation 4 occurs 2 times"),
        ("conversation_ID", 7, r"conversation 7 is not in the official file"),
        ("remove", 1, r"conversation 4 of the official file is missing"),
        ("conversation", [], r"conversation 9: its utterance_IDs are \[\], in the official file \[1, 2, 3\]"),
        ("add", "text", r"got 'text'"),
    ],
)
def test_what_the_tasks_scorer_would_refuse_or_misread_is_refused(
    utterances, place: str, value: Any, words: str
) -> None:
    submission = caused_by_themselves(utterances, PREDICTED)
    with pytest.raises(SubmissionError, match=words):
        submitted_pairs(changed(submission, place, value), utterances)


def test_no_message_prints_more_than_an_excerpt_of_the_submission(utterances) -> None:
    long = "9" * 4000
    for place, value in [
        ("pairs", [[f"{long}_joy", long]]),
        ("pairs", [[long, "1"]]),
        ("conversation_ID", long),
        (long, 1),
        ("conversation", [{"utterance_ID": n, "text": long, "speaker": "", "video_name": ""} for n in range(3000)]),
    ]:
        submission = caused_by_themselves(utterances, PREDICTED)
        with pytest.raises(SubmissionError) as refused:
            submitted_pairs(changed(submission, place, value), utterances)
        assert len(str(refused.value)) < 1500


def test_a_text_with_line_marks_is_one_line_in_a_submission(tmp_path: Path) -> None:
    conversation = made_conversation(9, ["joy"])
    conversation["conversation"][0]["text"] = "one\u2028two\x85"
    made = caused_by_themselves(read_ecf(write_ecf(tmp_path, [conversation])), {"dia9utt1": "joy"})
    assert made[0]["conversation"][0]["text"] == "one two…"
    assert json.loads(json.dumps(made)) == made  # Python's own numbers and words


def test_of_many_problems_ten_are_named() -> None:
    utterances = utterance_table(
        [
            {"utterance": f"dia{number}utt1", "conversation_id": number, "utterance_id": 1, "text": "a", "speaker": "b"}
            for number in range(1, 13)
        ]
    )
    with pytest.raises(SubmissionError, match=r"(?s)12 problems.*conversation 10 of.*and 2 more"):
        submitted_pairs([], utterances)
