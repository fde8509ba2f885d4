"""Checks the body and rows of a request and stores its clips; accepts the content of clips but never a path."""

import base64
import binascii
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.config.parameters import ServingParams, unique_keys
from trimood.serving.predictor import Utterance

REQUEST_COLUMNS = ("clip", "text")

CONTEXT_COLUMNS = ("conversation", "speaker")
"""More columns for a model that reads the conversation, whose rows are in its order."""

_SEPARATORS = {"application/json": (b",", b"[", b"{"), "text/csv": (b",", b"\n")}
"""The content types of a request, with what separates the values in each. Parquet can be compressed without bound."""

_SHAPE = 'send {"dataframe_records": [{"text": "…", "clip": "…"}]}.'
_MEGABYTE = 1_000_000
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_BEGINNINGS = (b"\x1aE\xdf\xa3", b"OggS", b"fLaC")  # Matroska and WebM, Ogg, FLAC
ACCEPTED_FORMATS = "MP4, MOV, MKV, WebM, AVI, WAV, FLAC or Ogg"
"""The formats whose beginnings `is_media` knows, in words."""

_HOW = f"Send the file's content as base64 (of {ACCEPTED_FORMATS}); a path is never opened."


class BadRequest(Exception):
    """A request is invalid; the message names each wrong row."""


def check_body(body: bytes, content_type: str, limits: ServingParams) -> None:
    """Refuses the body of an HTTP request that MLflow could not turn into a table, or only with far more memory.

    Raises BadRequest.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in _SEPARATORS:
        raise BadRequest(f"the content type is {kind or 'missing'}; allowed are {' and '.join(_SEPARATORS)}.")
    # Each value of JSON can take dozens of bytes of memory for one in the body.
    values = sum(body.count(separator) for separator in _SEPARATORS[kind])
    if values > (most := limits.most_rows * (limits.longest_text_characters + 100)):
        raise BadRequest(f"the body has {values:,} values; {limits.most_rows} rows have fewer than {most:,}.")
    content = parse_json(body) if kind == "application/json" else {}
    if not isinstance(content, dict):
        raise BadRequest(f"the body is a JSON {type(content).__name__}; {_SHAPE}")
    for rows in content.values():
        table = rows.get("data", rows) if isinstance(rows, dict) else rows
        columns = [column for column in table.values() if isinstance(column, list)] if isinstance(table, dict) else []
        _check_count(max([len(table) if isinstance(table, list) else 0, *map(len, columns)]), limits)


def parse_json(body: bytes) -> object:
    """Returns the content of a body. Raises BadRequest, also for a key given twice, and if Python's parser gives up."""
    try:
        return json.loads(body, object_pairs_hook=unique_keys)
    except RecursionError:
        raise BadRequest("the body is JSON that is nested too deeply.") from None
    except ValueError as error:  # also for text that is not UTF-8, and for numbers with thousands of digits
        reason = f"{error.reason} at byte {error.start}" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BadRequest(f"the body is not valid JSON: {reason}.") from None


def read_request(rows: pd.DataFrame, folder: Path, limits: ServingParams) -> list[Utterance]:
    """Returns an utterance for each row, and writes its clip to a file in `folder`. Raises BadRequest.

    `clip` is base64 text or bytes, `text` is the text; either may be missing, null or empty, but not both.
    CONTEXT_COLUMNS may be missing, too.
    """
    if not len(rows) or not set(REQUEST_COLUMNS) & set(rows.columns):
        raise BadRequest("the request has no row with a column clip (base64 of its content) or text.")
    _check_count(len(rows), limits)
    utterances, problems = [], []
    for number, row in enumerate(rows.to_dict("records"), start=1):
        try:
            utterances.append(_utterance(f"row {number}", row, folder, limits))
        except BadRequest as error:
            problems.append(f"row {number}: {error}")
    if problems:
        raise BadRequest("\n".join(problems))
    return utterances


def check_text(text: str, limits: ServingParams, column: str = "text") -> None:
    """Raises BadRequest for text that is too long, before it is split into tokens."""
    if len(text) > limits.longest_text_characters:
        raise BadRequest(
            f"{column} has {len(text):,} characters; the maximum is {limits.longest_text_characters:,} "
            "(TRIMOOD_LONGEST_TEXT_CHARACTERS)."
        )


def _check_count(count: int, limits: ServingParams) -> None:
    if count > limits.most_rows:
        raise BadRequest(f"the request has {count:,} rows; the maximum is {limits.most_rows} (TRIMOOD_MOST_ROWS).")


def _utterance(name: str, row: Mapping[Any, object], folder: Path, limits: ServingParams) -> Utterance:
    clip, text = (_given(row.get(column)) for column in REQUEST_COLUMNS)
    if not isinstance(text, str | None):
        raise BadRequest(f"text is {type(text).__name__}; it must be a string.")
    check_text(text or "", limits)
    conversation, speaker = (_given(row.get(column)) or "" for column in CONTEXT_COLUMNS)
    for column, value in zip(CONTEXT_COLUMNS, (conversation, speaker), strict=True):
        if not isinstance(value, str):
            raise BadRequest(f"{column} is {type(value).__name__}; it must be a string.")
        check_text(value, limits, column)
    if not clip and not (text or "").strip():
        raise BadRequest("clip and text are both missing.")
    if not clip:
        return Utterance(None, text or "", name, conversation, speaker)
    content = _content(clip, limits.largest_clip_megabytes)
    path = folder / name
    path.write_bytes(content)
    return Utterance(path, text or "", name, conversation, speaker)


def _given(value: Any) -> Any:
    """Replaces NaN, the missing value of a table, by None."""
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def _content(clip: Any, largest_clip_megabytes: float) -> bytes:
    if not isinstance(clip, str | bytes | bytearray):
        raise BadRequest(f"clip is {type(clip).__name__}; it must be a string. {_HOW}")
    largest = int(largest_clip_megabytes * _MEGABYTE)
    if len(clip) > (largest + 2) * 4 / 3 if isinstance(clip, str) else len(clip) > largest:
        raise BadRequest(
            f"clip is larger than the maximum of {largest_clip_megabytes:g} MB (TRIMOOD_LARGEST_CLIP_MEGABYTES)."
        )
    content = _decoded(clip) if isinstance(clip, str) else bytes(clip)
    if not is_media(content):
        raise BadRequest(f"clip is not a video or sound file: it begins with {content[:12]!r}. {_HOW}")
    return content


def _decoded(clip: str) -> bytes:
    try:
        if "\n" in clip or " " in clip or "\r" in clip:
            clip = "".join(clip.split())  # the command base64 writes several lines
        return base64.b64decode(clip, validate=True)
    except (binascii.Error, ValueError) as error:
        beginning = repr(clip[:40]) + ("…" if len(clip) > 40 else "")
        raise BadRequest(f"clip is not base64 ({error}); got {beginning}. {_HOW}") from None


def is_media(content: bytes) -> bool:
    """Whether the first bytes are those of a format that contains its own pictures and sound.

    Rejects lists of other files (HLS, concat), which trimood.media.files also rejects when it opens a file. Rejects
    MP3, because FFmpeg skips an ID3 tag and detects the format from the bytes after it.
    """
    riff = content[:4] == b"RIFF" and content[8:12] in (b"AVI ", b"WAVE")
    return content[4:8] in _ISO_BOXES or content.startswith(_BEGINNINGS) or riff
