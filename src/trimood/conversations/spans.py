"""Where each utterance stands in its episode: the annotation's `video_source`, or MECPE's file for the train file."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.conversations.ecf import AnnotationError

TRAIN_SPANS = "train_video_source_from_MECPE.json"
"""The name under which MECPE publishes the spans of the train file, which does not hold them itself."""

SPAN_COLUMNS = {"utterance": "str", "episode": "str", "start_seconds": "float64", "end_seconds": "float64"}

_TIME = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


def read_spans(path: Path) -> pd.DataFrame:
    """The spans that an annotation file, or MECPE's file, holds (SPAN_COLUMNS); no row for utterances without one.

    Raises AnnotationError for a file that is no JSON, and for the first span that is not [episode, start, end].
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise AnnotationError(f"{path.name}: its spans cannot be read ({error}). Fetch the file again.") from error
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
        f'{path.name}, {key}: got {str(value)[:60]} as its span; allowed is ["S01E01", "00:01:19.037", "00:01:25.417"]'
        ". Correct it, or fetch the file again."
    )


def _seconds(clock: str) -> float:
    found = _TIME.fullmatch(clock)
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3]) if found else math.nan
