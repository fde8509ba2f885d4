"""The files of a corpus folder: annotation files, folders of clips, and spans in episodes."""

import hashlib
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from trimood.config.parameters import Corpus, listed
from trimood.corpus.anomalies import word_count
from trimood.corpus.data_report import AnnotationFile, AnnotationFiles
from trimood.corpus.ecf import AnnotationError, check_ecf, class_counts, read_bytes, read_json, utterance_table
from trimood.corpus.meld import MELD_LABELS, MELD_MAP, find_meld_clips, point_to_meld, read_meld_map
from trimood.corpus.meld_annotations import check_meld, meld_file
from trimood.corpus.overlap import shared_with
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
MELD_SPLITS: dict[Side, str] = {"train": "train", "official_validation": "dev", "official_test": "test"}
SIDES_OF: dict[Corpus, tuple[Side, ...]] = {"ecf": tuple(NAMES), "meld": tuple(MELD_SPLITS)}
"""The annotation files that each corpus has."""


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
        found += (
            " (these are MELD's files, which --env=meld reads)" if (corpus / MELD_LABELS["train"]).is_file() else ""
        )
    return (
        f"{corpus}: no train file; {found}. Expected {' or '.join(TRAIN_FILES)}, with clips in train/ or beside it. "
        "Put the file there, or give its folder with --params corpus_dir=FOLDER."
    )


def missing_meld_files(corpus: Path) -> list[str]:
    """Those of MELD's three annotation files that a corpus folder lacks."""
    return [name for split, name in MELD_LABELS.items() if corpus.is_dir() and meld_file(corpus, split) is None]


def no_meld_file(corpus: Path, missing: list[str]) -> str:
    """The error message for a folder that lacks some of MELD's annotation files."""
    found = "got " + (", ".join(sorted(path.name for path in corpus.iterdir())[:10]) or "an empty folder")
    found += " (ECF's files are read with --env=ecf)" if first_present(corpus, TRAIN_FILES + TEST_FILES) else ""
    return (
        f"{corpus}: MELD's {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing; {found}. MELD's own "
        f"splits are used, so all three files are needed: {', '.join(MELD_LABELS.values())}. Download them from "
        "https://github.com/declare-lab/MELD (data/MELD), or give their folder with --params corpus_dir=FOLDER."
    )


def refusal(corpus: Path, kind: Corpus, every_split: bool) -> str | None:
    """Why a corpus folder lacks the annotations that a run needs, in words; None if they exist.

    `every_split`: for training; otherwise, one file of any split suffices.
    """
    if kind == "meld":
        missing = missing_meld_files(corpus)
        return no_meld_file(corpus, missing) if len(missing) > (0 if every_split else 2) else None
    needed = TRAIN_FILES if every_split else TRAIN_FILES + TEST_FILES
    return None if first_present(corpus, needed) else no_train_file(corpus)


class AnnotatedFile(NamedTuple):
    """An annotation file as it was read: the path (None if there is no file), a digest of its bytes, its utterances.

    `spans` returns the spans that the file itself contains (SPAN_COLUMNS); it raises AnnotationError for a wrong one.
    """

    path: Path | None
    sha256: str | None
    spans: Callable[[], pd.DataFrame]
    table: pd.DataFrame

    def facts(self) -> FileFacts:
        """The file's name, generation and fingerprint, and the counts of its table."""
        return {
            "file": self.path.name if self.path else None,
            "generation": _GENERATION.sub("", self.path.stem) if self.path else None,
            "sha256": self.sha256,
            "conversations": int(self.table["conversation_id"].nunique()),
            "utterances": len(self.table),
            "labelled_utterances": int(self.table["label"].notna().sum()),
        }


_GENERATION = re.compile("_train|_test|^(train|dev|test)_")
"""What distinguishes the files of one release: "Subtask_2" and "sent_emo" remain."""


def read_side(corpus: Path, side: Side, kind: Corpus = "ecf") -> AnnotatedFile:
    """The side's first existing annotation file, read once; without any, all is empty. Raises AnnotationError."""
    path = meld_file(corpus, MELD_SPLITS[side]) if kind == "meld" else first_present(corpus, NAMES[side])
    if path is None:
        return AnnotatedFile(None, None, partial(_without_rows, SPAN_COLUMNS), utterance_table())
    raw = read_bytes(path)
    digest = hashlib.sha256(raw).hexdigest()[:12]
    if kind == "meld":
        table, spans = check_meld(path.name, raw, MELD_SPLITS[side])
        return AnnotatedFile(path, digest, lambda: spans, table)
    content = read_json(path, raw)
    table = check_ecf(path.name, content, clip_folder(corpus, FOLDERS[side]))
    table["clip"] = _as_spelt(corpus, table["clip"])
    return AnnotatedFile(path, digest, partial(spans_of, path.name, content), table)


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


def read_annotations(corpus: Path, meld: Path, kind: Corpus = "ecf") -> tuple[pd.DataFrame, AnnotationFiles]:
    """The utterances of the files that experiments use, labelled or not, and a description of each file.

    Columns: UTTERANCE_COLUMNS, corpus, side, words, from_ecf, SPAN_COLUMNS, MELD_COLUMNS and in_ecf. `clip` points to
    MELD's folders where necessary. Raises AnnotationError for a file that cannot be read, and if there is no file.
    """
    read = {side: read_side(corpus, side, kind) for side in SIDES_OF[kind]}
    if message := refusal(corpus, kind, every_split=False):
        raise AnnotationError(message)
    tables = [_annotated(corpus, meld, side, kind, file) for side, file in read.items()]
    annotated = pd.concat(tables, ignore_index=True)
    annotated["in_ecf"] = _sides_in_ecf(corpus, annotated) if kind == "meld" else None
    described = {side: _described(corpus, side, kind, file) for side, file in read.items()}
    return annotated.astype({"in_ecf": "str"}), AnnotationFiles.model_validate({"corpus": kind, **described})


def _annotated(corpus: Path, meld: Path, side: Side, kind: Corpus, file: AnnotatedFile) -> pd.DataFrame:
    """The utterances of a side with spans, and with MELD's names and labels: its map only covers ECF's train file."""
    table = file.table
    in_meld = _without_rows({"utterance": "str", **MELD_COLUMNS})
    if kind == "meld":
        table = find_meld_clips(table, corpus, meld)
    elif side == "train" and len(table):
        table, _ = point_to_meld(table, corpus, meld)
        if (corpus / MELD_MAP).is_file():
            in_meld = read_meld_map(corpus / MELD_MAP, corpus)[["utterance", *MELD_COLUMNS]]
    table.insert(0, "side", pd.Series(side, index=table.index, dtype="str"))
    table.insert(0, "corpus", pd.Series(kind, index=table.index, dtype="str"))
    table["words"] = word_count(table["text"])
    table["from_ecf"] = kind == "ecf" and nearest_generation(table, side) is not None
    table = table.merge(_spans(corpus, side, kind, file), on="utterance", how="left", validate="1:1")
    return table.merge(in_meld, on="utterance", how="left", validate="1:1")


def _sides_in_ecf(corpus: Path, annotated: pd.DataFrame) -> pd.Series:
    """For each of MELD's utterances the file of ECF that has the same one, "" if none has it; missing without files.

    ECF's files are looked for beside MELD's. An utterance in both files counts for the official test.
    """
    files = {side: file for side in NAMES if (file := read_side(corpus, side)).path}
    found = pd.Series("" if files else None, index=annotated.index, dtype="str")
    for side, file in files.items():  # the official test last
        spoken = file.table.merge(_spans(corpus, side, "ecf", file), on="utterance", how="left", validate="1:1")
        found[shared_with(annotated, spoken).notna()] = side
    return found


def _spans(corpus: Path, side: Side, kind: Corpus, file: AnnotatedFile) -> pd.DataFrame:
    """The spans of a side (SPAN_COLUMNS); the file's own take precedence over those in MECPE's file."""
    spans = [_without_rows(SPAN_COLUMNS), file.spans()]
    if kind == "ecf" and side == "train" and file.path and (corpus / TRAIN_SPANS).is_file():
        spans.append(read_spans(corpus / TRAIN_SPANS))
    return pd.concat(spans, ignore_index=True).astype(SPAN_COLUMNS).drop_duplicates("utterance")


def _without_rows(columns: Mapping[str, str]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})


def _described(corpus: Path, side: Side, kind: Corpus, file: AnnotatedFile) -> AnnotationFile:
    known = generation_of(file.table, kind) or (nearest_generation(file.table, side, kind) if file.path else None)
    names = NAMES[side] if kind == "ecf" else ()
    return AnnotationFile(
        **file.facts(),
        emotions=class_counts(file.table),
        published_as=known.name if known else None,
        published_conversations=known.conversations if known else None,
        published_utterances=known.utterances if known else None,
        published_emotions=known.emotions if known else {},
        differs_in=tuple(differences(file.table, known)) if known else (),
        unused_files=tuple(name for name in names if (corpus / name).is_file() and corpus / name != file.path),
    )
