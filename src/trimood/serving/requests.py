"""Checks the rows of a request and stores their clips; accepts the content of clips but never a path."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.serving.predictor import Utterance

REQUEST_COLUMNS = ("clip", "text")

_MEGABYTE = 1_000_000
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_BEGINNINGS = (b"\x1aE\xdf\xa3", b"OggS", b"fLaC")  # Matroska and WebM, Ogg, FLAC
_HOW = "Send the file's content as base64 (of MP4, MOV, MKV, WebM, AVI, WAV, FLAC or Ogg); a path is never opened."


class BadRequest(Exception):
    """A request is invalid; the message names each wrong row."""


def read_request(rows: pd.DataFrame, folder: Path, largest_clip_megabytes: float) -> list[Utterance]:
    """Returns an utterance for each row, and writes its clip to a file in `folder`. Raises BadRequest.

    `clip` is base64 text or bytes, `text` is the text; either may be missing, null or empty, but not both.
    """
    if not len(rows) or not set(REQUEST_COLUMNS) & set(rows.columns):
        raise BadRequest("the request has no row with a column clip (base64 of its content) or text.")
    utterances, problems = [], []
    for number, row in enumerate(rows.to_dict("records"), start=1):
        try:
            utterances.append(_utterance(f"row {number}", row, folder, largest_clip_megabytes))
        except BadRequest as error:
            problems.append(f"row {number}: {error}")
    if problems:
        raise BadRequest("\n".join(problems))
    return utterances


def _utterance(name: str, row: Mapping[Any, object], folder: Path, largest_clip_megabytes: float) -> Utterance:
    clip, text = (_given(row.get(column)) for column in REQUEST_COLUMNS)
    if not isinstance(text, str | None):
        raise BadRequest(f"text is {type(text).__name__}; it must be a string.")
    if not clip and not (text or "").strip():
        raise BadRequest("clip and text are both missing.")
    if not clip:
        return Utterance(None, text or "", name)
    content = _content(clip, largest_clip_megabytes)
    path = folder / name
    path.write_bytes(content)
    return Utterance(path, text or "", name)


def _given(value: Any) -> Any:
    """Replaces NaN, the missing value of a table, by None."""
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def _content(clip: Any, largest_clip_megabytes: float) -> bytes:
    if not isinstance(clip, str | bytes | bytearray):
        raise BadRequest(f"clip is {type(clip).__name__}; it must be a string. {_HOW}")
    largest = int(largest_clip_megabytes * _MEGABYTE)
    if len(clip) > (largest + 2) * 4 / 3 if isinstance(clip, str) else len(clip) > largest:
        raise BadRequest(f"clip is larger than the maximum of {largest_clip_megabytes:g} MB.")
    content = _decoded(clip) if isinstance(clip, str) else bytes(clip)
    if not is_media(content):
        raise BadRequest(f"clip is not a video or sound file: it begins with {content[:12]!r}. {_HOW}")
    return content


def _decoded(clip: str) -> bytes:
    try:
        return base64.b64decode("".join(clip.split()), validate=True)  # the command base64 writes several lines
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
