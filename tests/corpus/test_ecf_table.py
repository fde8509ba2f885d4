from pathlib import Path

import pandas as pd
import pytest

from trimood.corpus.ecf import class_counts, conform, labelled, utterance_table
from trimood.corpus.tables import UTTERANCE_COLUMNS
from trimood.emotions import EMOTIONS


def rows(*emotions: str | None) -> list[dict[str, object]]:
    return [
        {
            "utterance": f"dia1utt{number}",
            "conversation_id": 1,
            "utterance_id": number,
            "speaker": "Joey",
            "text": "Hey !",
            "emotion": emotion,
            "clip": f"dia1utt{number}.mp4",
        }
        for number, emotion in enumerate(emotions, start=1)
    ]


@pytest.mark.parametrize(
    "table",
    [utterance_table(), utterance_table(rows("joy", None, "fear")), utterance_table(rows(None))],
    ids=["empty", "partly labelled", "unlabelled"],
)
def test_parquet_gives_every_table_back_as_it_was(table: pd.DataFrame, tmp_path: Path) -> None:
    table.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "table.parquet"), table)


def test_the_columns_have_the_types_of_the_contract() -> None:
    for table in (utterance_table(), utterance_table(rows("joy"))):
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == UTTERANCE_COLUMNS


def test_the_label_is_the_class_number_of_the_emotion() -> None:
    assert utterance_table(rows(*EMOTIONS))["label"].tolist() == list(range(7))


def test_class_counts_are_in_class_order_with_zeros_and_without_unlabelled_rows() -> None:
    counts = class_counts(utterance_table(rows("joy", None, "fear", "joy")))
    assert list(counts) == list(EMOTIONS)
    assert counts == {**dict.fromkeys(EMOTIONS, 0), "joy": 2, "fear": 1}


def test_labelled_keeps_the_rows_with_an_emotion() -> None:
    assert labelled(utterance_table(rows("joy", None, "fear")))["utterance"].tolist() == ["dia1utt1", "dia1utt3"]


def test_conform_restores_order_and_types() -> None:
    table = utterance_table(rows("joy", "fear"))
    loose = table[list(reversed(UTTERANCE_COLUMNS))].astype({"label": "int64", "conversation_id": "int32"})
    pd.testing.assert_frame_equal(conform(loose), table)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match="utterance table: no column speaker, clip; got utterance, "):
        conform(utterance_table(rows("joy")).drop(columns=["speaker", "clip"]))


def test_a_repeated_key_is_named() -> None:
    table = utterance_table(rows("joy"))
    with pytest.raises(ValueError, match="1 keys occur in several rows, the first is dia1utt1"):
        conform(pd.concat([table, table]))
