import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from support.made_corpus import drawn_conversations, made_conversation, write_ecf
from support.shared_data import SHARED, needs_shared
from trimood.corpus.ecf import AnnotationError, class_counts, read_ecf
from trimood.corpus.tables import UTTERANCE_COLUMNS

ECF = (SHARED or Path()) / "reference" / "ecf2"


def utterances_of(conversation: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = conversation["conversation"]
    return found


def test_a_row_holds_what_the_file_says(tmp_path: Path) -> None:
    table = read_ecf(write_ecf(tmp_path, {7: ["surprise", "disgust"]}), "train")
    assert list(table.columns) == list(UTTERANCE_COLUMNS)
    assert table.iloc[1].to_dict() == {
        "utterance": "dia7utt2",
        "conversation_id": 7,
        "utterance_id": 2,
        "speaker": "Monica",
        "text": "I feel disgust , number 2 !",
        "emotion": "disgust",
        "label": 6,
        "clip": "train/dia7utt2.mp4",
    }


def test_without_a_split_folder_the_clip_lies_beside_the_file(tmp_path: Path) -> None:
    assert read_ecf(write_ecf(tmp_path, {7: ["joy"]}))["clip"].tolist() == ["dia7utt1.mp4"]


def test_a_file_without_emotions_is_read_as_unlabelled(tmp_path: Path) -> None:
    table = read_ecf(write_ecf(tmp_path, {1: [None, None]}))
    assert table["emotion"].isna().all()
    assert table["label"].isna().all()
    assert table["label"].dtype == "Int8"


def test_rows_keep_the_order_of_the_file_and_ids_may_have_gaps(tmp_path: Path) -> None:
    table = read_ecf(write_ecf(tmp_path, {9: ["joy"], 2: ["fear", "anger"], 40: ["neutral"]}))
    assert table["utterance"].tolist() == ["dia9utt1", "dia2utt1", "dia2utt2", "dia40utt1"]


def test_curly_quotes_accents_and_a_byte_order_mark_survive(tmp_path: Path) -> None:
    conversation = made_conversation(1, ["joy"])
    utterances_of(conversation)[0]["text"] = "“Café” , it’s naïve …"
    path = write_ecf(tmp_path, [conversation])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_ecf(path)["text"].tolist() == ["“Café” , it’s naïve …"]


def test_video_names_may_be_left_out(tmp_path: Path) -> None:
    named = write_ecf(tmp_path, [made_conversation(3, ["joy", "fear"])], "named.json")
    nameless = write_ecf(tmp_path, [made_conversation(3, ["joy", "fear"], video_names=False)], "nameless.json")
    pd.testing.assert_frame_equal(read_ecf(named), read_ecf(nameless))


def test_broken_json_is_reported_with_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "Subtask_2_train.json"
    path.write_text('[\n  {"conversation_ID": 1,\n   "conversation" []}\n]')
    with pytest.raises(AnnotationError, match=r"Subtask_2_train\.json, line 3, column 19: not JSON"):
        read_ecf(path)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Subtask_2_train.json"
    path.write_bytes('[{"text": "Café"}]'.encode("latin-1"))
    with pytest.raises(AnnotationError, match=r"byte 14: not UTF-8 .got 0xe9.*save it as UTF-8"):
        read_ecf(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"nowhere.json: cannot be read .No such file"):
        read_ecf(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"dia1utt1.mp4": ["S01E01"]}, r"whole file: got .* \(dict\): Input should be a valid list"),
        ([], "empty list without conversations"),
        (["dia1utt1"], r"conversation no\. 1: got 'dia1utt1' \(str\)"),
        (
            [{"conversation_ID": 5}],
            r"no\. 1 \(conversation_ID 5\): conversation: this key is missing; got the keys conv",
        ),
        (
            [{"conversation_ID": 5, "conversation": []}],
            r"\(conversation_ID 5\): conversation: got \[\] .* at least 1 item",
        ),
        (
            [{"conversation_ID": 5, "conversation": ["Hi"]}],
            r"\(conversation_ID 5\), utterance no\. 1: got 'Hi' \(str\)",
        ),
    ],
)
def test_another_structure_is_refused_with_the_right_one(tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "Subtask_1_train.json"
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=words) as caught:
        read_ecf(path)
    assert str(caught.value).startswith("Subtask_1_train.json: 1 problem in the annotations.")
    assert "Expected a list of {conversation_ID: int, conversation: [" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("emotion", "suprise", "got 'suprise' .str.: unknown label, expected one of surprise, fear, .* mean surprise?"),
        ("emotion", "JOY", "got 'JOY' .str.: unknown label, .* mean joy?"),
        ("emotion", "", "got '' .str.: unknown label"),
        ("emotion", 4, "got 4 .int.: Input should be a valid string"),
        ("utterance_ID", "2", "got '2' .str.: Input should be a valid integer"),
        ("utterance_ID", -1, "got -1 .int.: Input should be greater than or equal to 0"),
        ("utterance_ID", 2**63, "got 9223372036854775808 .int.: Input should be less than"),
        ("utterance_ID", True, "got True .bool.: Input should be a valid integer"),
        ("text", "  ", "got '  ' .str.: the text is empty; add the words"),
        ("text", None, "got None .NoneType.: Input should be a valid string"),
        ("speaker", ["Ross", "Rachel"], "got .'Ross', 'Rachel'. .list.: Input should be a valid string"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, field: str, value: Any, words: str) -> None:
    conversation = made_conversation(12, ["joy", "joy", "joy"])
    utterances_of(conversation)[1][field] = value
    path = write_ecf(tmp_path, [made_conversation(3, ["joy"]), conversation])
    known = "" if field == "utterance_ID" and isinstance(value, str) else r" \(utterance_ID -?\w+\)"
    with pytest.raises(
        AnnotationError, match=rf"no\. 2 \(conversation_ID 12\), utterance no\. 2{known}: {field}: {words}"
    ):
        read_ecf(path)


def test_half_a_character_is_refused_before_it_reaches_a_table(tmp_path: Path) -> None:
    path = tmp_path / "Subtask_2_train.json"
    path.write_text(json.dumps([made_conversation(1, ["joy"])]).replace("I feel joy", r"Oh \ud83d"))
    with pytest.raises(AnnotationError, match=r"text: got 'Oh .*: character 4 is half of a surrogate pair; write the"):
        read_ecf(path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    conversation = made_conversation(12, ["joy"])
    del utterances_of(conversation)[0]["text"]
    with pytest.raises(AnnotationError, match="text: this key is missing; got the keys utterance_ID, speaker, emotion"):
        read_ecf(write_ecf(tmp_path, [conversation]))


def test_an_utterance_that_stands_twice_is_refused_across_the_file(tmp_path: Path) -> None:
    conversations = [made_conversation(8, ["joy"]), made_conversation(9, ["joy"]), made_conversation(8, ["fear"])]
    with pytest.raises(
        AnnotationError, match=r"no\. 3 .*utterance_ID 1: duplicate utterance, .* conversation no\. 1; keep one"
    ):
        read_ecf(write_ecf(tmp_path, conversations))


def test_a_clip_of_another_utterance_is_refused(tmp_path: Path) -> None:
    conversation = made_conversation(8, ["joy"])
    utterances_of(conversation)[0]["video_name"] = "dia8utt2.mp4"
    with pytest.raises(AnnotationError, match=r"video_name: got 'dia8utt2.mp4', expected dia8utt1\.mp4 or no"):
        read_ecf(write_ecf(tmp_path, [conversation]))


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Subtask_2_train.json"
    written = json.dumps([made_conversation(1, ["joy"])])
    path.write_text(written.replace('"emotion": "joy"', '"emotion": "fear", "emotion": "joy"'))
    with pytest.raises(AnnotationError, match=r"Subtask_2_train\.json: the key 'emotion' occurs 2 times in one object"):
        read_ecf(path)


@pytest.mark.parametrize("content", ["[" * 100_000, "[" + "9" * 5000 + "]"], ids=["nested", "a number of 5,000 digits"])
def test_json_that_python_cannot_read_is_an_error_in_words(tmp_path: Path, content: str) -> None:
    (tmp_path / "Subtask_2_train.json").write_text(content)
    with pytest.raises(AnnotationError, match=r"Subtask_2_train\.json: .*Expected a list of"):
        read_ecf(tmp_path / "Subtask_2_train.json")


def test_texts_are_one_line_with_the_characters_that_were_meant(tmp_path: Path) -> None:
    conversation = made_conversation(1, ["joy", "fear"])
    utterances_of(conversation)[0].update(text="I\x92m here\x85\u2028now", speaker="Zo\x91\r\nB")
    utterances_of(conversation)[1]["text"] = "two  spaces , and\ttab "
    table = read_ecf(write_ecf(tmp_path, [conversation]))
    assert table["text"].tolist() == ["I’m here… now", "two  spaces , and\ttab "]
    assert table["speaker"][0] == "Zo‘ B"
    table.to_csv(tmp_path / "table.csv", index=False)
    assert len((tmp_path / "table.csv").read_text().splitlines()) == 3


def test_no_message_prints_more_than_an_excerpt_of_the_file(tmp_path: Path) -> None:
    long = "word " * 3000
    for key in ("text", "speaker", "emotion", "video_name", "utterance_ID"):
        conversation = made_conversation(1, ["joy"])
        utterances_of(conversation)[0][key] = [long] if key in ("text", "speaker") else long
        with pytest.raises(AnnotationError) as refused:
            read_ecf(write_ecf(tmp_path, [conversation]))
        assert len(str(refused.value)) < 700
    (tmp_path / "Subtask_2_train.json").write_text(json.dumps([{long: 1}]))
    with pytest.raises(AnnotationError) as refused:
        read_ecf(tmp_path / "Subtask_2_train.json")
    assert len(str(refused.value)) < 700


def test_ten_problems_are_named_at_once_and_the_rest_counted(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_ecf(write_ecf(tmp_path, {1: ["happy"] * 7, 2: ["angry"] * 6}))
    assert str(caught.value).startswith("Subtask_2_train.json: 13 problems in the annotations.")
    assert str(caught.value).count("unknown label") == 10
    assert "and 3 more" in str(caught.value)
    assert "Did you mean anger?" in str(caught.value)


def test_any_well_formed_file_is_read_whole(tmp_path: Path) -> None:
    for seed in range(5):
        conversations = drawn_conversations(30, seed)
        table = read_ecf(write_ecf(tmp_path, conversations))
        assert len(table) == sum(len(utterances_of(conversation)) for conversation in conversations)
        assert table["utterance"].is_unique


@needs_shared
@pytest.mark.parametrize(
    ("name", "conversations", "counts"),
    [
        ("Subtask_2_train.json", 1374, [1840, 373, 1147, 5929, 2301, 1615, 414]),
        ("Subtask_2_test.json", 341, [363, 151, 249, 1280, 700, 235, 123]),
    ],
)
def test_the_published_files_have_the_published_counts(name: str, conversations: int, counts: list[int]) -> None:
    table = read_ecf(ECF / name)
    assert table["conversation_id"].nunique() == conversations
    assert list(class_counts(table).values()) == counts
    assert len(table) == sum(counts)


@needs_shared
def test_the_unlabelled_release_is_read_without_labels() -> None:
    table = read_ecf(ECF / "Subtask_2_test_eval_release_unlabelled.json", "test")
    assert (table["conversation_id"].nunique(), len(table), table["label"].count()) == (665, 6301, 0)


@needs_shared
@pytest.mark.parametrize("part", ["train", "test"])
def test_both_subtasks_give_the_same_table(part: str) -> None:
    first, second = (read_ecf(ECF / f"Subtask_{number}_{part}.json", part) for number in (1, 2))
    pd.testing.assert_frame_equal(first, second)


@needs_shared
def test_the_oddities_of_the_published_files_are_read_as_they_are() -> None:
    train, test = read_ecf(ECF / "Subtask_2_train.json"), read_ecf(ECF / "Subtask_2_test.json")
    in_file_order = train["conversation_id"].drop_duplicates()
    assert (in_file_order.diff().dropna() != 1).sum() == 560
    assert (train["text"].map(str.isascii)).value_counts()[False] == 54
    sizes = train["conversation_id"].value_counts()
    assert ((sizes == 1).sum(), sizes.max()) == (41, 33)
    assert (test["conversation_id"].value_counts() == 1).sum() == 12
    ids = test["conversation_id"]
    assert len(set(range(ids.min(), ids.max() + 1)) - set(ids)) == 324
    assert not set(ids) & set(train["conversation_id"])
