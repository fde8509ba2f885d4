from pathlib import Path

import pandas as pd
import pytest

from support.shared_data import SHARED, needs_shared
from trimood.corpus.corpus_files import read_annotations
from trimood.corpus.overlap import shared_with

Row = tuple[str, int, str, str | None, float, float]


def spoken(*rows: Row) -> pd.DataFrame:
    names = ["utterance", "conversation_id", "text", "episode", "start_seconds", "end_seconds"]
    return pd.DataFrame(rows, columns=names).astype({"utterance": "str", "text": "str", "episode": "str"})


def shared(table: pd.DataFrame, others: pd.DataFrame) -> list[str | None]:
    return [None if pd.isna(name) else name for name in shared_with(table, others)]


def test_the_same_moment_of_the_same_episode_is_shared_and_a_neighbour_is_not() -> None:
    ours = spoken(
        ("a1", 1, "Hey", "S01E01", 10.0, 12.0),
        ("a2", 1, "Hey", "S01E01", 12.0, 14.0),
        ("a3", 1, "Hey", "S01E02", 10.0, 12.0),
        ("a4", 1, "Hey", None, 10.0, 12.0),
    )
    theirs = spoken(("b1", 7, "You", "S01E01", 9.5, 12.2), ("b2", 7, "You", "S01E03", 0.0, 99.0))
    assert shared(ours, theirs) == ["b1", None, None, None]


def test_conversations_of_the_same_words_are_shared_however_they_are_written() -> None:
    ours = spoken(
        ("a1", 1, "Yes, but you can’t tell anyone!", None, 0, 0),
        ("a2", 1, "It happened in London.", "S05E05", 1.0, 2.0),
        ("a3", 1, "Okay?", None, 0, 0),
        ("a4", 2, "It happened in London.", None, 0, 0),
    )
    theirs = spoken(
        ("b1", 7, "Yes , but you cannot tell anyone !", "S07E21", 5.0, 6.0),
        ("b2", 7, "It happened in London .", "S07E21", 6.0, 7.0),
        ("b3", 7, "Okay ?", "S07E21", 7.0, 8.0),
    )
    assert shared(ours, theirs) == ["b1", "b2", None, None]
    assert shared(ours, theirs[1:]) == [None, None, None, None]  # one text alone is said in many scenes


@pytest.mark.slow
@needs_shared
def test_ecfs_official_test_repeats_words_of_two_conversations_of_the_train_file_and_no_moment() -> None:
    folder = (SHARED or Path()) / "reference" / "ecf2"
    table, _ = read_annotations(folder, folder)
    train, test = (table[table["side"] == side] for side in ("train", "official_test"))
    found = shared_with(test, train).dropna()
    assert set(test.loc[found.index, "conversation_id"]) == {1785, 1891}
    assert set(train.set_index("utterance").loc[found, "conversation_id"]) == {230, 644}
    assert shared_with(test, train.assign(text="")).notna().sum() == 0
