"""Every annotation file of a corpus folder as one table, with spans and MELD's names where their files are there."""

from pathlib import Path
from typing import Any

import pandas as pd

from trimood.conversations.clip_folders import point_to_meld
from trimood.conversations.corpus_files import (
    TEST_FILES,
    TRAIN_FILES,
    clip_folder,
    file_facts,
    first_present,
    no_train_file,
)
from trimood.conversations.ecf import AnnotationError, read_ecf
from trimood.conversations.meld import MELD_MAP, read_meld_map
from trimood.conversations.oddities import word_count
from trimood.conversations.published import Side, differences, generation_of, nearest_generation
from trimood.conversations.spans import SPAN_COLUMNS, TRAIN_SPANS, read_spans
from trimood.conversations.table import class_counts, empty_table

SIDES: dict[Side, tuple[str, ...]] = {"train": TRAIN_FILES, "official_test": TEST_FILES}
FOLDERS: dict[Side, str] = {"train": "train", "official_test": "test"}

MELD_COLUMNS = {"meld_split": "str", "meld_clip": "str", "meld_emotion": "str"}


def read_annotations(corpus: Path, meld: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The utterances of the files that experiments use, labelled or not, and the facts of each side's file.

    Beside the columns of the utterance table: side, words, from_ecf, those of spans, and MELD's split, clip and label.
    Clips that lie in
    MELD's own folders are found there. Raises AnnotationError for a file that cannot be read, and where there is none.
    """
    tables = {side: _side(corpus, meld, side) for side in SIDES}
    if not any(len(table) for table in tables.values()):
        raise AnnotationError(no_train_file(corpus))
    whole = pd.concat(tables.values(), ignore_index=True)
    return whole, {side: _facts(corpus, side, table) for side, table in tables.items()}


def _side(corpus: Path, meld: Path, side: Side) -> pd.DataFrame:
    path = first_present(corpus, SIDES[side])
    table = read_ecf(path, clip_folder(corpus, FOLDERS[side])) if path else empty_table()
    if side == "train" and len(table):  # the map is of the train file
        table, _ = point_to_meld(table, corpus, meld)
    table.insert(0, "side", pd.Series(side, index=table.index, dtype="str"))
    table["words"] = word_count(table["text"])
    table["from_ecf"] = nearest_generation(table, side) is not None
    table = table.merge(_spans(corpus, side, path), on="utterance", how="left", validate="1:1")
    return table.merge(_meld(corpus, side), on="utterance", how="left", validate="1:1")


def _spans(corpus: Path, side: Side, path: Path | None) -> pd.DataFrame:
    """The file's own spans go before MECPE's."""
    files = [path, corpus / TRAIN_SPANS if side == "train" else None]
    found = [read_spans(file) for file in files if file is not None and file.is_file()]
    none = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SPAN_COLUMNS.items()})
    return pd.concat([none, *found], ignore_index=True).astype(SPAN_COLUMNS).drop_duplicates("utterance")


def _meld(corpus: Path, side: Side) -> pd.DataFrame:
    """MELD's name and label of each utterance; the map is of the train file only."""
    if side == "train" and (corpus / MELD_MAP).is_file():
        return read_meld_map(corpus / MELD_MAP, corpus)[["utterance", *MELD_COLUMNS]]
    return pd.DataFrame({name: pd.Series(dtype="str") for name in ("utterance", *MELD_COLUMNS)})


def _facts(corpus: Path, side: Side, table: pd.DataFrame) -> dict[str, Any]:
    """What the side's file is: its counts, the generation, in what it differs; and the other files, not read."""
    path = first_present(corpus, SIDES[side])
    known = generation_of(table) or (nearest_generation(table, side) if path else None)
    return file_facts(path, table) | {
        "emotions": class_counts(table),
        "published_as": known.name if known else None,
        "published_conversations": known.conversations if known else None,
        "published_utterances": known.utterances if known else None,
        "published_emotions": known.emotions if known else {},
        "differs_in": differences(table, known) if known else [],
        "unused_files": [name for name in SIDES[side] if (corpus / name).is_file() and path and name != path.name],
    }
