"""The files of a corpus folder: which annotation files are used, where clips are, and the spans in episodes."""

import hashlib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.corpus.anomalies import word_count
from trimood.corpus.data_report import SIDES, AnnotationFile, AnnotationFiles
from trimood.corpus.ecf import AnnotationError, class_counts, empty_table, read_ecf
from trimood.corpus.meld import MELD_MAP, point_to_meld, read_meld_map
from trimood.corpus.published import Side, differences, generation_of, nearest_generation
from trimood.corpus.tables import MELD_COLUMNS, SPAN_COLUMNS

TRAIN_FILES = ("Subtask_2_train.json", "Subtask_1_train.json")
TEST_FILES = ("Subtask_2_test.json", "Subtask_1_test.json", "Subtask_2_test_eval_release_unlabelled.json")
"""The first that exists is used. Subtask 1 and 2 have the same utterances; the unlabelled release comes last."""


def first_present(corpus: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the named files that the corpus folder holds."""
    return next((corpus / name for name in names if (corpus / name).is_file()), None)


def clip_folder(corpus: Path, split: str) -> str:
    """The split's own folder of clips if there is one, or "" for clips beside the annotation file."""
    return split if (corpus / split).is_dir() else ""


def no_train_file(corpus: Path) -> str:
    """The error message for a folder without any of TRAIN_FILES."""
    if not corpus.is_dir():
        found = "there is no such folder"
    else:
        found = "got " + (", ".join(sorted(path.name for path in corpus.iterdir())[:10]) or "an empty folder")
        below = sorted(path for name in TRAIN_FILES for path in corpus.glob(f"*/{name}"))
        found += f" (but {below[0].relative_to(corpus)} exists: is that folder the corpus?)" if below else ""
    return (
        f"{corpus}: no train file; {found}. Expected {' or '.join(TRAIN_FILES)}, with clips in train/ or beside it. "
        "Put the file there, or give its folder with --params corpus_dir=FOLDER."
    )


def file_facts(path: Path | None, table: pd.DataFrame) -> dict[str, Any]:
    """A file's name, generation and fingerprint (None without a file), and the counts of its table."""
    return {
        "file": path.name if path else None,
        "generation": path.stem.replace("_train", "").replace("_test", "") if path else None,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path else None,
        "conversations": int(table["conversation_id"].nunique()),
        "utterances": len(table),
        "labelled_utterances": int(table["label"].notna().sum()),
    }


TRAIN_SPANS = "train_video_source_from_MECPE.json"
"""MECPE's file with the spans of the train file, which has none itself."""

_TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def read_spans(path: Path) -> pd.DataFrame:
    """The spans of an annotation file or of MECPE's file (SPAN_COLUMNS), without rows for utterances that have none.

    Raises AnnotationError for a file that is not JSON, and for the first span that is not [episode, start, end].
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path.name}: its spans cannot be read ({error}). Download the file again.") from error
    rows = [(key, *_span(path, key, value)) for key, value in _sources(content)]
    return pd.DataFrame(rows, columns=list(SPAN_COLUMNS)).astype(SPAN_COLUMNS).drop_duplicates("utterance")


def _sources(content: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(content, dict):  # {"dia1utt1.mp4": ["S01E01", "00:01:19.037", "00:01:25.417"]}
        yield from ((name.removesuffix(".mp4"), value) for name, value in content.items())
        return
    for conversation in content:
        for utterance in conversation["conversation"]:
            if "video_source" in utterance:
                key = f"dia{conversation['conversation_ID']}utt{utterance['utterance_ID']}"
                yield key, utterance["video_source"]


def _span(path: Path, key: str, value: Any) -> tuple[str, float, float]:
    if isinstance(value, list) and [type(item) for item in value] == [str, str, str]:
        start, end = _seconds(value[1]), _seconds(value[2])
        if math.isfinite(start + end):
            return value[0], start, end
    raise AnnotationError(
        f'{path.name}, {key}: got the span {str(value)[:60]}; expected ["S01E01", "00:01:19.037", "00:01:25.417"]. '
        "Correct it, or download the file again."
    )


def _seconds(clock: str) -> float:
    found = _TIME.fullmatch(clock)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else math.nan


NAMES: dict[Side, tuple[str, ...]] = {"train": TRAIN_FILES, "official_test": TEST_FILES}
FOLDERS: dict[Side, str] = {"train": "train", "official_test": "test"}


def read_annotations(corpus: Path, meld: Path) -> tuple[pd.DataFrame, AnnotationFiles]:
    """The utterances of the files that experiments use, labelled or not, and a description of each file.

    The columns are those of the utterance table, and side, words, from_ecf, those of spans, and MELD's split, clip and
    label. Clips in MELD's own folders are found there. Raises AnnotationError for a file that cannot be read, and if
    there is none.
    """
    tables = {side: _side(corpus, meld, side) for side in SIDES}
    if not any(len(table) for table in tables.values()):
        raise AnnotationError(no_train_file(corpus))
    whole = pd.concat(tables.values(), ignore_index=True)
    files = {side: _describe(corpus, side, table) for side, table in tables.items()}
    return whole, AnnotationFiles(train=files["train"], official_test=files["official_test"])


def _side(corpus: Path, meld: Path, side: Side) -> pd.DataFrame:
    path = first_present(corpus, NAMES[side])
    table = read_ecf(path, clip_folder(corpus, FOLDERS[side])) if path else empty_table()
    if side == "train" and len(table):  # the map is of the train file
        table, _ = point_to_meld(table, corpus, meld)
    table.insert(0, "side", pd.Series(side, index=table.index, dtype="str"))
    table["words"] = word_count(table["text"])
    table["from_ecf"] = nearest_generation(table, side) is not None
    table = table.merge(_spans(corpus, side, path), on="utterance", how="left", validate="1:1")
    return table.merge(_meld(corpus, side), on="utterance", how="left", validate="1:1")


def _spans(corpus: Path, side: Side, path: Path | None) -> pd.DataFrame:
    """The file's own spans take precedence over MECPE's."""
    files = [path, corpus / TRAIN_SPANS if side == "train" else None]
    found = [read_spans(file) for file in files if file is not None and file.is_file()]
    none = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SPAN_COLUMNS.items()})
    return pd.concat([none, *found], ignore_index=True).astype(SPAN_COLUMNS).drop_duplicates("utterance")


def _meld(corpus: Path, side: Side) -> pd.DataFrame:
    """MELD's name and label of each utterance; the map is of the train file only."""
    if side == "train" and (corpus / MELD_MAP).is_file():
        return read_meld_map(corpus / MELD_MAP, corpus)[["utterance", *MELD_COLUMNS]]
    return pd.DataFrame({name: pd.Series(dtype="str") for name in ("utterance", *MELD_COLUMNS)})


def _describe(corpus: Path, side: Side, table: pd.DataFrame) -> AnnotationFile:
    path = first_present(corpus, NAMES[side])
    known = generation_of(table) or (nearest_generation(table, side) if path else None)
    return AnnotationFile(
        **file_facts(path, table),
        emotions=class_counts(table),
        published_as=known.name if known else None,
        published_conversations=known.conversations if known else None,
        published_utterances=known.utterances if known else None,
        published_emotions=known.emotions if known else {},
        differs_in=tuple(differences(table, known)) if known else (),
        unused_files=tuple(name for name in NAMES[side] if (corpus / name).is_file() and path and name != path.name),
    )
