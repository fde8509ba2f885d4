"""The utterance table: what its columns are called, of which type they are, and how it is built."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from trimood.emotions import EMOTIONS

COLUMNS: dict[str, str] = {
    "utterance": "str",  # key of the row, "dia12utt3"
    "conversation_id": "int64",
    "utterance_id": "int64",  # position in the conversation as annotated, from 1
    "speaker": "str",
    "text": "str",
    "emotion": "str",  # missing where the file is unlabelled
    "label": "Int8",  # class number in the order of EMOTIONS; missing with the emotion
    "clip": "str",  # relative to the corpus folder, "train/dia12utt3.mp4"; whole where it lies outside
}
"""Columns of every utterance table, in order, with their pandas types; Parquet gives the same back."""


def utterance_table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row per utterance, in the order given; `label` follows from `emotion` (None = unlabelled)."""
    numbers = {emotion: number for number, emotion in enumerate(EMOTIONS)}
    values = {name: [row.get(name) for row in rows] for name in COLUMNS}
    values["label"] = [None if emotion is None else numbers[emotion] for emotion in values["emotion"]]
    return pd.DataFrame({name: pd.Series(values[name], dtype=dtype) for name, dtype in COLUMNS.items()})


def empty_table() -> pd.DataFrame:
    """A table with all columns and no row: what stands in for a file that is not there."""
    return utterance_table([])


def conform(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of the contract in their order and types; raises ValueError for missing columns or a repeated key."""
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        raise ValueError(
            f"utterance table: no column {', '.join(missing)}; got {', '.join(map(str, table.columns))}; "
            f"needed are {', '.join(COLUMNS)}. Build it with trimood.conversations.ecf.read_ecf."
        )
    repeated = table["utterance"][table["utterance"].duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"utterance table: {len(repeated)} keys stand in more than one row, the first is {repeated[0]}; "
            "each utterance may stand in one row only. Remove the repeated rows."
        )
    return table[list(COLUMNS)].astype(COLUMNS).reset_index(drop=True)


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an emotion."""
    return table[table["label"].notna()].reset_index(drop=True)


def class_counts(table: pd.DataFrame) -> dict[str, int]:
    """Utterances per emotion in class order, zeros included; unlabelled rows are not counted."""
    counts = table["label"].value_counts()
    return {emotion: int(counts.get(number, 0)) for number, emotion in enumerate(EMOTIONS)}
