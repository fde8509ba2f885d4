"""What comes from outside in a request: the content of clips, never their paths, checked before anything reads it."""

import base64
import binascii
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
    """A request that cannot be answered; the message names each wrong row."""


def read_request(rows: pd.DataFrame, folder: Path, largest_clip_megabytes: float) -> list[Utterance]:
    """An utterance for each row, its clip written to a file in `folder`. Raises BadRequest.

    `clip` holds base64 text or bytes, `text` the words; either may be missing, null or empty, but not both.
    """
    if not len(rows) or not set(REQUEST_COLUMNS) & set(rows.columns):
        raise BadRequest("the request has no row with a column clip (base64 of its content) or text (its words).")
    utterances, problems = [], []
    for number, row in enumerate(rows.to_dict("records"), start=1):
        try:
            utterances.append(_utterance(f"row {number}", row, folder, largest_clip_megabytes))
        except BadRequest as error:
            problems.append(f"row {number}: {error}")
    if problems:
        raise BadRequest("\n".join(problems))
    return utterances


def _utterance(name: str, row: dict[Any, Any], folder: Path, largest_clip_megabytes: float) -> Utterance:
    clip, text = (_given(row.get(column)) for column in REQUEST_COLUMNS)
    if not isinstance(text, str | None):
        raise BadRequest(f"text is {type(text).__name__}, it has to be a string: the words.")
    if not clip and not (text or "").strip():
        raise BadRequest("neither clip nor text is there.")
    if not clip:
        return Utterance(None, text or "", name)
    content = _content(clip, largest_clip_megabytes)
    path = folder / name
    path.write_bytes(content)
    return Utterance(path, text or "", name)


def _given(value: Any) -> Any:
    """None for what is not there: a table marks gaps as NaN."""
    return None if pd.api.types.is_scalar(value) and pd.isna(value) else value


def _content(clip: Any, largest_clip_megabytes: float) -> bytes:
    if not isinstance(clip, str | bytes | bytearray):
        raise BadRequest(f"clip is {type(clip).__name__}, it has to be a string. {_HOW}")
    largest = int(largest_clip_megabytes * _MEGABYTE)
    if len(clip) > (largest + 2) * 4 / 3 if isinstance(clip, str) else len(clip) > largest:
        raise BadRequest(f"clip is larger than {largest_clip_megabytes:g} MB, the largest that is taken.")
    content = _decoded(clip) if isinstance(clip, str) else bytes(clip)
    if not is_media(content):
        raise BadRequest(f"clip is no video or sound: it begins with {content[:12]!r}. {_HOW}")
    return content


def _decoded(clip: str) -> bytes:
    try:
        # The command base64 breaks its output into lines.
        return base64.b64decode("".join(clip.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        beginning = repr(clip[:40]) + ("…" if len(clip) > 40 else "")
        raise BadRequest(f"clip is not base64 ({error}); got {beginning}. {_HOW}") from None


def is_media(content: bytes) -> bool:
    """By its first bytes, whether it is of a kind that holds its pictures and sound itself.

    Lists of other files (HLS, concat) stay out here already; whoever gets past is stopped where the file is opened
    (trimood.media.files). MP3 stays out, as FFmpeg passes over an ID3 tag and looks at what comes after.
    """
    riff = content[:4] == b"RIFF" and content[8:12] in (b"AVI ", b"WAVE")
    return content[4:8] in _ISO_BOXES or content.startswith(_BEGINNINGS) or riff
