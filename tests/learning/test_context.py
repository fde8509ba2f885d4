"""What a text tower reads of a conversation: its own order, nothing of another split, the utterance itself always."""

import logging
from pathlib import Path

import pandas as pd
import pytest

from support.made_corpus import drawn_conversations
from trimood.config.experiment_settings import ContextParams
from trimood.corpus.ecf import check_ecf
from trimood.corpus.splits import split_utterances
from trimood.learning.context import Around, ContextError, TextReader, fitted, rows_around
from trimood.model.checkpoints import TOKEN_COUNT, tokenizer
from trimood.model.encoders import WIDTH_STEP, read_encoder

TALK = pd.DataFrame(
    {
        "conversation_id": [1, 7, 1, 1, 1, 7],
        "utterance_id": [3, 1, 1, 2, 5, 2],
        "speaker": ["Ross", "Joey", "Monica", "Ross", "", "Joey"],
        "text": ["three", "other one", "one", "two", "five", "other two"],
    }
)


def around(before: list[int], after: list[int] | None = None) -> Around:
    return Around(tuple(before), tuple(after or ()))


def test_context_is_in_the_conversations_own_order_and_of_no_other_conversation() -> None:
    assert rows_around(TALK, ContextParams(previous=2, next=1)) == [
        around([2, 3], [4]),
        around([], [5]),
        around([], [3]),
        around([2], [0]),
        around([3, 0]),
        around([1]),
    ]


def test_an_utterance_without_words_is_nobodys_context_and_one_without_a_conversation_has_none() -> None:
    table = TALK.assign(text=["three", "", "one", " ", "five", "other two"])
    assert rows_around(table, ContextParams(previous=1)) == [around(row) for row in ([2], [], [], [], [0], [])]
    alone = TALK.astype({"conversation_id": "str"}).assign(conversation_id="")
    assert rows_around(alone, ContextParams(previous=1)) == [around([])] * 6


def test_nothing_crosses_a_split() -> None:
    table = check_ecf("train.json", drawn_conversations(60, seed=4))
    splits = split_utterances(table, "conversation", 0.2, 0.2, seed=1)
    context = ContextParams(previous=3, next=3)
    for split in splits:
        own = set(split["utterance"])
        whole = dict(zip(table["utterance"], rows_around(table, context), strict=True))
        for key, places in zip(split["utterance"], rows_around(split, context), strict=True):
            read = [split["utterance"][row] for row in (*places.before, *places.after)]
            assert set(read) <= own
            assert read == [table["utterance"][row] for row in (*whole[key].before, *whole[key].after)]
    by_utterance, validation, _ = split_utterances(table, "utterance", 0.4, 0.0, seed=1)
    assert set(by_utterance["conversation_id"]) & set(validation["conversation_id"])
    for places in rows_around(validation, context):
        assert all(0 <= row < len(validation) for row in (*places.before, *places.after))


@pytest.mark.parametrize(
    ("context", "missing"),
    [
        (ContextParams(previous=1), "conversation_id, utterance_id"),
        (ContextParams(speakers=True), "speaker"),
    ],
)
def test_a_table_without_order_or_speakers_is_refused(context: ContextParams, missing: str) -> None:
    with pytest.raises(ContextError, match=rf"has no {missing}\. Prepare the data again: kedro run"):
        rows_around(TALK[["text"]], context)


S = [0]


@pytest.mark.parametrize(
    ("room", "ids", "is_whole"),
    [
        (11, [1, 1, 0, 2, 0, 0, 5, 5, 0, 0, 8], True),
        (10, [2, 0, 0, 5, 5, 0, 0, 8], False),
        (7, [5, 5, 0, 0, 8], False),
        (4, [5, 5], False),
        (1, [5], False),
    ],
)
def test_the_oldest_goes_first_and_the_utterance_never(room: int, ids: list[int], is_whole: bool) -> None:
    assert fitted([5, 5], [[1, 1], [2]], [[8]], S, room) == (ids, is_whole)


def test_between_two_sides_the_utterance_is_marked_even_without_a_context() -> None:
    assert fitted([5], [], [[8]], S, 9, is_between=True) == ([0, 0, 5, 0, 0, 8], True)
    assert fitted([5], [], [], S, 9, is_between=True) == ([0, 0, 5, 0, 0], True)
    assert fitted([5], [], [], S, 3, is_between=True) == ([5], True)


def test_an_encoder_reads_speakers_and_its_own_separator(
    encoder_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, words = read_encoder(encoder_folder, "mean")
    reader = TextReader(words, ContextParams(previous=2, speakers=True), config)
    with caplog.at_level(logging.INFO, logger="trimood"):
        ids = reader.ids(TALK)
    assert ids.shape == (6, 3 * WIDTH_STEP)
    first, last = (words.decode(row[row != config.padding]).replace(" ", "") for row in ids[[0, 4]])
    assert first == "[CLS]monica:one[SEP]ross:two[SEP][SEP]ross:three[SEP][SEP][SEP]"
    assert last == "[CLS]ross:two[SEP]ross:three[SEP][SEP]five[SEP][SEP][SEP]"
    assert "4 of 6 utterances have context; of 0 of them" in caplog.text


def test_an_encoder_without_context_reads_what_its_tokenizer_gives(encoder_folder: Path) -> None:
    config, words = read_encoder(encoder_folder, "mean")
    ids = TextReader(words, ContextParams(), config).ids(TALK)
    own = words(TALK["text"].tolist(), padding="max_length", max_length=ids.shape[1], return_tensors="pt")
    assert ids.equal(own["input_ids"])
    long = TextReader(words, ContextParams(), config).ids(TALK.assign(text="so " * 500))
    assert long.shape == (6, config.most_tokens)
    assert words.decode(long[0][-1:]) == "[SEP]"


def test_languagebind_reads_context_within_its_77_tokens(
    sources: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    clip = tokenizer(Path(sources["video"]))
    plain = TextReader(clip, ContextParams())
    reader = TextReader(clip, ContextParams(previous=2))
    ids = reader.ids(TALK)
    assert ids.shape == (6, TOKEN_COUNT)
    assert clip.decode(ids[0], skip_special_tokens=True) == "one | two | | three"
    assert ids[2].equal(plain.ids(TALK)[2])
    long = TALK.assign(text=["three", "", "o" * 90, "two", "f" * 90, ""])
    with caplog.at_level(logging.INFO, logger="trimood"):
        ids = reader.ids(long)
    assert clip.decode(ids[0], skip_special_tokens=True) == "two | | three"
    assert ids[4].equal(plain.ids(long)[4])
    assert "2 of 6 utterances are cut to 77 tokens" in caplog.text
    assert "of 3 of them, not all of it fits into 77 tokens" in caplog.text


def test_who_reads_alone_after_a_training_with_context_is_said(
    encoder_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config, words = read_encoder(encoder_folder, "mean")
    TextReader(words, ContextParams(previous=2), config).ids(TALK.assign(conversation_id=""))
    assert "no utterance has context, with which (2 before) the model was trained" in caplog.text
