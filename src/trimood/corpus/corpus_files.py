"""The files of a corpus folder: annotation files, folders of clips, and spans in episodes."""

import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from trimood.config.parameters import listed
from trimood.corpus.anomalies import word_count
from trimood.corpus.data_report import SIDES, AnnotationFile, AnnotationFiles
from trimood.corpus.ecf import AnnotationError, check_ecf, class_counts, read_bytes, read_json, utterance_table
from trimood.corpus.meld import MELD_MAP, point_to_meld, read_meld_map
from trimood.corpus.published import Side, differences, generation_of, nearest_generation
from trimood.corpus.reading import shortened
from trimood.corpus.tables import MELD_COLUMNS, SPAN_COLUMNS, FileFacts
from trimood.media.names import seems_media, spelling, video_names

log = logging.getLogger(__name__)

_NAMED = 5

TRAIN_FILES = ("Subtask_2_train.json", "Subtask_1_train.json")
TEST_FILES = ("Subtask_2_test.json", "Subtask_1_test.json", "Subtask_2_test_eval_release_unlabelled.json")
"""The first existing file is used. Subtasks 1 and 2 have the same utterances; the unlabelled release comes last."""

NAMES: dict[Side, tuple[str, ...]] = {"train": TRAIN_FILES, "official_test": TEST_FILES}
FOLDERS: dict[Side, str] = {"train": "train", "official_test": "test"}


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


class AnnotatedFile(NamedTuple):
    """An annotation file as it was read: the path (None if there is no file), its bytes and JSON, its utterances."""

    path: Path | None
    sha256: str | None
    content: object
    table: pd.DataFrame

    def facts(self) -> FileFacts:
        """The file's name, generation and fingerprint, and the counts of its table."""
        return {
            "file": self.path.name if self.path else None,
            "generation": self.path.stem.replace("_train", "").replace("_test", "") if self.path else None,
            "sha256": self.sha256,
            "conversations": int(self.table["conversation_id"].nunique()),
            "utterances": len(self.table),
            "labelled_utterances": int(self.table["label"].notna().sum()),
        }


def read_side(corpus: Path, side: Side) -> AnnotatedFile:
    """The side's first existing annotation file, read once; without any, all is empty. Raises AnnotationError."""
    path = first_present(corpus, NAMES[side])
    if path is None:
        return AnnotatedFile(None, None, None, utterance_table())
    raw = read_bytes(path)
    content = read_json(path, raw)
    table = check_ecf(path.name, content, clip_folder(corpus, FOLDERS[side]))
    table["clip"] = _as_spelt(corpus, table["clip"])
    return AnnotatedFile(path, hashlib.sha256(raw).hexdigest()[:12], content, table)


def _as_spelt(corpus: Path, clips: pd.Series) -> pd.Series:
    """Clips by the names of their files, which may have another ending of video (.MP4, .mkv) or other Unicode forms."""
    names = {folder: video_names(corpus / folder) for folder in {Path(clip).parent for clip in clips}}
    paths = [(Path(clip), names[Path(clip).parent].get(spelling(Path(clip).name)[0])) for clip in clips]
    found = [clip.with_name(name) if name else clip for clip, name in paths]
    missing = {clip.parent / clip.stem for clip, name in paths if not name}
    files = [path for folder in names if (corpus / folder).is_dir() for path in sorted((corpus / folder).iterdir())]
    others = [path.name for path in files if path.relative_to(corpus).with_suffix("") in missing and seems_media(path)]
    if others:
        message = "%s: %d media files with the name of a missing clip are passed over because of their endings: %s"
        log.warning(message, corpus, len(others), listed(others, _NAMED))
    return pd.Series([clip.as_posix() for clip in found], index=clips.index, dtype="str")


TRAIN_SPANS = "train_video_source_from_MECPE.json"
"""MECPE's file with the spans that the train file itself lacks."""

_TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def read_spans(path: Path) -> pd.DataFrame:
    """The spans in an annotation file or in MECPE's file (SPAN_COLUMNS); utterances without a span have no row.

    Raises AnnotationError for a file that is not JSON, and for the first span that is not [episode, start, end].
    """
    return spans_of(path.name, read_json(path, read_bytes(path)))


def spans_of(file_name: str, content: object) -> pd.DataFrame:
    """The same as `read_spans`, for the parsed content of a file."""
    rows = [(key, *_span(file_name, key, value)) for key, value in _sources(content)]
    return pd.DataFrame(rows, columns=list(SPAN_COLUMNS)).astype(SPAN_COLUMNS).drop_duplicates("utterance")


def _sources(content: Any) -> Iterator[tuple[str, object]]:
    if isinstance(content, dict):  # {"dia1utt1.mp4": ["S01E01", "00:01:19.037", "00:01:25.417"]}
        yield from ((name.removesuffix(".mp4"), value) for name, value in content.items())
        return
    for conversation in content:
        for utterance in conversation["conversation"]:
            if "video_source" in utterance:
                key = f"dia{conversation['conversation_ID']}utt{utterance['utterance_ID']}"
                yield key, utterance["video_source"]


def _span(file_name: str, key: str, value: object) -> tuple[str, float, float]:
    if isinstance(value, list) and [type(item) for item in value] == [str, str, str]:
        start, end = _seconds(value[1]), _seconds(value[2])
        if math.isfinite(start + end):
            return value[0], start, end
    raise AnnotationError(
        f"{file_name}, {shortened(key)}: got the span {shortened(str(value))}; expected "
        '["S01E01", "00:01:19.037", "00:01:25.417"]. Correct it, or download the file again.'
    )


def _seconds(clock: str) -> float:
    found = _TIME.fullmatch(clock)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else math.nan


def read_annotations(corpus: Path, meld: Path) -> tuple[pd.DataFrame, AnnotationFiles]:
    """The utterances of the files that experiments use, labelled or not, and a description of each file.

    Columns: UTTERANCE_COLUMNS, side, words, from_ecf, SPAN_COLUMNS and MELD_COLUMNS. `clip` points to MELD's folders
    where necessary. Raises AnnotationError for a file that cannot be read, and if there is no file.
    """
    read: dict[Side, AnnotatedFile] = {side: read_side(corpus, side) for side in SIDES}
    if not any(file.path for file in read.values()):
        raise AnnotationError(no_train_file(corpus))
    tables = [_annotated(corpus, meld, side, file) for side, file in read.items()]
    described = {side: _described(corpus, side, file) for side, file in read.items()}
    return pd.concat(tables, ignore_index=True), AnnotationFiles.model_validate(described)


def _annotated(corpus: Path, meld: Path, side: Side, file: AnnotatedFile) -> pd.DataFrame:
    """The utterances of a side with their spans, and with MELD's names and labels: its map only covers the train file.

    The file's own spans take precedence over MECPE's.
    """
    table = file.table
    spans = [_without_rows(SPAN_COLUMNS)] + ([spans_of(file.path.name, file.content)] if file.path else [])
    in_meld = _without_rows({"utterance": "str", **MELD_COLUMNS})
    if side == "train" and len(table):
        table, _ = point_to_meld(table, corpus, meld)
        if (corpus / TRAIN_SPANS).is_file():
            spans.append(read_spans(corpus / TRAIN_SPANS))
        if (corpus / MELD_MAP).is_file():
            in_meld = read_meld_map(corpus / MELD_MAP, corpus)[["utterance", *MELD_COLUMNS]]
    first = pd.concat(spans, ignore_index=True).astype(SPAN_COLUMNS).drop_duplicates("utterance")
    table.insert(0, "side", pd.Series(side, index=table.index, dtype="str"))
    table["words"] = word_count(table["text"])
    table["from_ecf"] = nearest_generation(table, side) is not None
    table = table.merge(first, on="utterance", how="left", validate="1:1")
    return table.merge(in_meld, on="utterance", how="left", validate="1:1")


def _without_rows(columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})


def _described(corpus: Path, side: Side, file: AnnotatedFile) -> AnnotationFile:
    known = generation_of(file.table) or (nearest_generation(file.table, side) if file.path else None)
    return AnnotationFile(
        **file.facts(),
        emotions=class_counts(file.table),
        published_as=known.name if known else None,
        published_conversations=known.conversations if known else None,
        published_utterances=known.utterances if known else None,
        published_emotions=known.emotions if known else {},
        differs_in=tuple(differences(file.table, known)) if known else (),
        unused_files=tuple(name for name in NAMES[side] if (corpus / name).is_file() and corpus / name != file.path),
    )
