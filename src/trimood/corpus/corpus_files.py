"""The files of a corpus folder: annotation files, folders of clips, and spans in episodes."""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.corpus.anomalies import word_count
from trimood.corpus.data_report import SIDES, AnnotationFile, AnnotationFiles
from trimood.corpus.ecf import AnnotationError, check_ecf, class_counts, empty_table, parse_json, read_bytes
from trimood.corpus.meld import MELD_MAP, point_to_meld, read_meld_map
from trimood.corpus.published import Side, differences, generation_of, nearest_generation
from trimood.corpus.tables import MELD_COLUMNS, SPAN_COLUMNS, FileFacts

TRAIN_FILES = ("Subtask_2_train.json", "Subtask_1_train.json")
TEST_FILES = ("Subtask_2_test.json", "Subtask_1_test.json", "Subtask_2_test_eval_release_unlabelled.json")
"""The first existing file is used. Subtasks 1 and 2 have the same utterances; the unlabelled release comes last."""


def first_present(corpus: Path, names: tuple[str, ...]) -> Path | None:
    """The first of the named files that exists in the corpus folder."""
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


def file_facts(path: Path | None, table: pd.DataFrame, content: bytes | None = None) -> FileFacts:
    """A file's name, generation and fingerprint (None without a file), and the counts of its table.

    `content`: the bytes of the file, if they have been read.
    """
    if path and content is None:
        content = path.read_bytes()
    return {
        "file": path.name if path else None,
        "generation": path.stem.replace("_train", "").replace("_test", "") if path else None,
        "sha256": hashlib.sha256(content).hexdigest()[:12] if content is not None else None,
        "conversations": int(table["conversation_id"].nunique()),
        "utterances": len(table),
        "labelled_utterances": int(table["label"].notna().sum()),
    }


TRAIN_SPANS = "train_video_source_from_MECPE.json"
"""MECPE's file with the spans that the train file itself lacks."""

_TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def read_spans(path: Path) -> pd.DataFrame:
    """The spans in an annotation file or in MECPE's file (SPAN_COLUMNS); utterances without a span have no row.

    Raises AnnotationError for a file that is not JSON, and for the first span that is not [episode, start, end].
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path.name}: its spans cannot be read ({error}). Download the file again.") from error
    return spans_of(path.name, content)


def spans_of(file_name: str, content: Any) -> pd.DataFrame:
    """The same as `read_spans`, for the parsed content of a file."""
    rows = [(key, *_span(file_name, key, value)) for key, value in _sources(content)]
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


def _span(file_name: str, key: str, value: Any) -> tuple[str, float, float]:
    if isinstance(value, list) and [type(item) for item in value] == [str, str, str]:
        start, end = _seconds(value[1]), _seconds(value[2])
        if math.isfinite(start + end):
            return value[0], start, end
    raise AnnotationError(
        f'{file_name}, {key}: got the span {str(value)[:60]}; expected ["S01E01", "00:01:19.037", "00:01:25.417"]. '
        "Correct it, or download the file again."
    )


def _seconds(clock: str) -> float:
    found = _TIME.fullmatch(clock)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else math.nan


NAMES: dict[Side, tuple[str, ...]] = {"train": TRAIN_FILES, "official_test": TEST_FILES}
FOLDERS: dict[Side, str] = {"train": "train", "official_test": "test"}


def read_annotations(corpus: Path, meld: Path) -> tuple[pd.DataFrame, AnnotationFiles]:
    """The utterances of the files that experiments use, labelled or not, and a description of each file.

    Columns: UTTERANCE_COLUMNS, side, words, from_ecf, SPAN_COLUMNS and MELD_COLUMNS. `clip` points to MELD's folders
    where necessary. Raises AnnotationError for a file that cannot be read, and if there is no file.
    """
    tables: dict[Side, pd.DataFrame] = {}
    files: dict[Side, AnnotationFile] = {}
    for side in SIDES:
        tables[side], files[side] = _read_side(corpus, meld, side)
    if not any(len(table) for table in tables.values()):
        raise AnnotationError(no_train_file(corpus))
    whole = pd.concat(tables.values(), ignore_index=True)
    return whole, AnnotationFiles(train=files["train"], official_test=files["official_test"])


def _read_side(corpus: Path, meld: Path, side: Side) -> tuple[pd.DataFrame, AnnotationFile]:
    path = first_present(corpus, NAMES[side])
    content = read_bytes(path) if path else None
    parsed = parse_json(path.name, content) if path and content is not None else None
    table = check_ecf(path.name, parsed, clip_folder(corpus, FOLDERS[side])) if path else empty_table()
    if side == "train" and len(table):  # the map only covers the train file
        table, _ = point_to_meld(table, corpus, meld)
    table.insert(0, "side", pd.Series(side, index=table.index, dtype="str"))
    table["words"] = word_count(table["text"])
    table["from_ecf"] = nearest_generation(table, side) is not None
    spans = [spans_of(path.name, parsed)] if path else []
    if side == "train" and (corpus / TRAIN_SPANS).is_file():
        spans.append(read_spans(corpus / TRAIN_SPANS))
    table = table.merge(_first_spans(spans), on="utterance", how="left", validate="1:1")
    table = table.merge(_meld(corpus, side), on="utterance", how="left", validate="1:1")
    return table, _describe(corpus, side, table, path, content)


def _first_spans(found: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """One row for each utterance: the file's own spans take precedence over MECPE's."""
    none = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in SPAN_COLUMNS.items()})
    return pd.concat([none, *found], ignore_index=True).astype(SPAN_COLUMNS).drop_duplicates("utterance")


def _meld(corpus: Path, side: Side) -> pd.DataFrame:
    """MELD's name and label of each utterance; the map only covers the train file."""
    if side == "train" and (corpus / MELD_MAP).is_file():
        return read_meld_map(corpus / MELD_MAP, corpus)[["utterance", *MELD_COLUMNS]]
    return pd.DataFrame({name: pd.Series(dtype="str") for name in ("utterance", *MELD_COLUMNS)})


def _describe(
    corpus: Path, side: Side, table: pd.DataFrame, path: Path | None, content: bytes | None
) -> AnnotationFile:
    known = generation_of(table) or (nearest_generation(table, side) if path else None)
    return AnnotationFile(
        **file_facts(path, table, content),
        emotions=class_counts(table),
        published_as=known.name if known else None,
        published_conversations=known.conversations if known else None,
        published_utterances=known.utterances if known else None,
        published_emotions=known.emotions if known else {},
        differs_in=tuple(differences(table, known)) if known else (),
        unused_files=tuple(name for name in NAMES[side] if (corpus / name).is_file() and path and name != path.name),
    )
