"""Reads and checks MELD's own annotation files (https://github.com/declare-lab/MELD, data/MELD).

A file is CSV in UTF-8, with a row for each utterance. Dialogue_ID and Utterance_ID count from 0, have gaps, and begin
anew in each of the three files. The published texts contain control characters such as U+0092, which were apostrophes
(see `as_meant`). Utterances are named as in ECF's map to MELD: train_dia125_utt3.
"""

import logging
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import pandas as pd
from pydantic import AfterValidator, BaseModel, Field, ValidationError

from trimood.config.parameters import listed
from trimood.corpus.ecf import AnnotationError, counted_list, known_emotion, utterance_table, with_words
from trimood.corpus.meld import MELD_FOLDERS, MELD_LABELS
from trimood.corpus.reading import TextError, as_meant, csv_rows_of, in_one_line, shortened
from trimood.corpus.tables import SPAN_COLUMNS

log = logging.getLogger(__name__)

FIRST_CONVERSATION = {"train": 0, "dev": 10_000, "test": 20_000}
"""Added to Dialogue_ID, as a number of a conversation must not occur in two splits. MELD's largest is 1,038."""

COLUMNS = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime"
_NEEDED = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")
_TIME = re.compile(r"(\d+):(\d\d?):(\d\d?)[,.](\d{1,3})")


class _Row(BaseModel):
    Utterance: Annotated[str, AfterValidator(in_one_line), AfterValidator(with_words)]
    Speaker: str
    Emotion: Annotated[str, AfterValidator(known_emotion)]
    Dialogue_ID: Annotated[int, Field(ge=0, lt=FIRST_CONVERSATION["dev"])]
    Utterance_ID: Annotated[int, Field(ge=0, lt=2**31)]
    Season: str = ""
    Episode: str = ""
    StartTime: str = ""
    EndTime: str = ""


def meld_file(corpus: Path, split: str) -> Path | None:
    """The annotation file of a split, in the corpus folder or one folder below, as MELD.Raw's archives unpack.

    Raises AnnotationError if it is in several of these folders, but not in the corpus folder itself.
    """
    name = MELD_LABELS[split]
    if (corpus / name).is_file():
        return corpus / name
    below = sorted(path for path in corpus.glob(f"*/{name}") if path.is_file())
    if len(below) > 1:
        raise AnnotationError(
            f"{corpus}: {name} exists {len(below)} times: {', '.join(str(p.relative_to(corpus)) for p in below)}. "
            f"Put the right one into {corpus}."
        )
    return below[0] if below else None


def check_meld(file_name: str, raw: bytes, split: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The utterances in the content of a file, in its order, and their spans (UTTERANCE_COLUMNS, SPAN_COLUMNS).

    `utterance_id` counts from 1. Utterances without readable times have no span. Does not check that the clips exist.
    Raises AnnotationError, which names up to ten problems at once.
    """
    rows = _rows(file_name, _decoded(file_name, raw))
    table = utterance_table(
        [
            {
                "utterance": _key(split, row),
                "conversation_id": FIRST_CONVERSATION[split] + row.Dialogue_ID,
                "utterance_id": row.Utterance_ID + 1,
                "speaker": as_meant(row.Speaker),
                "text": row.Utterance,
                "emotion": row.Emotion,
                "clip": f"{MELD_FOLDERS[split]}/dia{row.Dialogue_ID}_utt{row.Utterance_ID}.mp4",
            }
            for row in rows
        ]
    )
    return table, _spans(file_name, {_key(split, row): row for row in rows})


def _key(split: str, row: _Row) -> str:
    return f"{split}_dia{row.Dialogue_ID}_utt{row.Utterance_ID}"


def _decoded(file_name: str, raw: bytes) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = raw[error.start : error.start + 1]
        meant = byte.decode("cp1252", "ignore")
        guess = f", which is {meant} in Windows-1252" if meant else ""
        raise AnnotationError(
            f"{file_name}, line {line}: got the byte 0x{byte.hex()}{guess}; MELD's files are UTF-8. Download the file "
            "again (a spreadsheet program may have saved it in another encoding), or convert it: "
            f"iconv -f WINDOWS-1252 -t UTF-8 {file_name} > converted.csv"
        ) from error


def _rows(file_name: str, content: str) -> list[_Row]:
    expected = f"Expected MELD's columns {COLUMNS}. Correct these places in the file, or download it again."
    try:
        (_, columns), *lines = list(csv_rows_of(content)) or [(1, [""])]
    except TextError as error:
        raise AnnotationError(f"{file_name}, {error}. {expected}") from error
    if missing := [name for name in _NEEDED if name not in columns]:
        got = shortened(", ".join(columns), 200) or "an empty file"
        raise AnnotationError(f"{file_name}, line 1: no column {', '.join(missing)}; got {got}. {expected}")
    rows: list[_Row] = []
    problems: list[str] = []
    first_seen: dict[tuple[int, int], int] = {}
    for line, fields in lines:
        if len(fields) != len(columns):
            problems.append(f"line {line}: got {len(fields)} fields, the header has {len(columns)}")
            continue
        try:
            row = _Row.model_validate(dict(zip(columns, fields, strict=True)))
        except ValidationError as error:
            problems += (f"line {line}: {problem}" for problem in _in_words(error))
            continue
        place = (row.Dialogue_ID, row.Utterance_ID)
        if place in first_seen:
            problems.append(
                f"line {line}: Dialogue_ID {place[0]}, Utterance_ID {place[1]} is also in line {first_seen[place]}; "
                "keep one"
            )
        first_seen.setdefault(place, line)
        rows.append(row)
    if not lines:
        problems.append("there is no row below the header")
    if problems:
        raise AnnotationError(f"{file_name}: {counted_list(problems, ' in the annotations')}\n{expected}")
    return rows


def _in_words(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        wrong = problem["ctx"]["error"] if problem["type"] == "value_error" else problem["msg"]
        yield f"{problem['loc'][0]}: got {shortened(repr(problem['input']))}: {wrong}"


def _spans(file_name: str, rows: Mapping[str, _Row]) -> pd.DataFrame:
    spans, unreadable = [], []
    for key, row in rows.items():
        start, end = _seconds(row.StartTime), _seconds(row.EndTime)
        if row.Season.isdecimal() and row.Episode.isdecimal() and math.isfinite(start + end):
            spans.append((key, f"S{int(row.Season):02}E{int(row.Episode):02}", start, end))
        elif row.StartTime or row.EndTime:
            unreadable.append(key)
    if unreadable:
        message = "%s: %d utterances have no readable episode and times, so their spans are not checked: %s"
        log.warning(message, file_name, len(unreadable), listed(unreadable, 5))
    return pd.DataFrame(spans, columns=list(SPAN_COLUMNS)).astype(SPAN_COLUMNS)


def _seconds(clock: str) -> float:
    found = _TIME.fullmatch(clock.strip())
    if not found:
        return math.nan
    return int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3]) + int(found[4].ljust(3, "0")) / 1000
