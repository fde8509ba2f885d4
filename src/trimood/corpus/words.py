"""Words for the user's own clips: tables (CSV, JSON, ECF's annotations) and subtitles (SRT, WebVTT)."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trimood.corpus.ecf import read_ecf

TABLES, SUBTITLES = (".csv", ".json"), (".srt", ".vtt")
"""Extensions of files with words."""

ALLOWED = (
    "Supported: CSV with the columns clip,text; JSON as {clip: text}, as [{clip, text}, ...] or in ECF's format; "
    "SRT and WebVTT."
)

_TAG = re.compile(r"</?\w[^>]*>|\{\\[^}]*\}")


class WordsError(Exception):
    """A file with words, or a choice of clips, that cannot be used."""


class Cue(NamedTuple):
    """A subtitle: start and end in whole milliseconds, and the words."""

    start_milliseconds: int
    end_milliseconds: int
    text: str


def read_words(path: Path) -> dict[str, str]:
    """The words of each clip in a table, in its order, with clips named as in the table. Raises WordsError."""
    try:
        pairs = _of_csv(path) if path.suffix.lower() == ".csv" else _of_json(path)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise WordsError(f"{path}: cannot be read ({error}). {ALLOWED}") from error
    words: dict[str, str] = {}
    for clip, text in pairs:
        if clip in words:
            raise WordsError(f"{path}: {clip} occurs twice; keep one row for each clip.")
        words[clip] = " ".join(text.split())
    return words


def read_cues(path: Path) -> list[Cue]:
    """The cues of a subtitle file that have text, in order of time, without markup. Raises WordsError."""
    from trimood.media.files import SUBTITLE_FORMATS, open_media

    cues = []
    try:
        with open_media(path, SUBTITLE_FORMATS) as container:
            for packet in container.demux():
                if packet.size and packet.pts is not None and packet.time_base is not None:
                    text = " ".join(_TAG.sub("", bytes(packet).decode("utf-8")).split())
                    start, end = (1000 * time * packet.time_base for time in (packet.pts, packet.pts + packet.duration))
                    cues.append(Cue(round(start), round(end), text))
    except (OSError, ValueError) as error:
        raise WordsError(f"{path}: cannot be read as subtitles ({error}). {ALLOWED}") from error
    return sorted((cue for cue in cues if cue.text), key=lambda cue: cue.start_milliseconds)


def _of_csv(path: Path) -> list[tuple[str, str]]:
    # Not pandas: if the first row has an extra comma, it shifts all columns.
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        columns = next(rows, [])
        if not {"clip", "text"} <= set(columns):
            raise WordsError(f"{path}: got the columns {', '.join(columns)}. {ALLOWED}")
        clip, text = columns.index("clip"), columns.index("text")
        pairs = []
        for row in filter(None, rows):
            if len(row) != len(columns):
                raise WordsError(
                    f"{path}, line {rows.line_num}: got {len(row)} fields, the header has {len(columns)}. Put words "
                    'with a comma in double quotes: a.mp4,"Oh, no!"'
                )
            pairs.append((row[clip], row[text]))
    return pairs


def _of_json(path: Path) -> list[tuple[str, str]]:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if isinstance(content, dict):
        return [(_word(path, clip), _word(path, text)) for clip, text in content.items()]
    if not isinstance(content, list) or not all(isinstance(row, Mapping) for row in content):
        got = f"a list of {type(content[0]).__name__}" if isinstance(content, list) and content else f"{content!r:.60}"
        raise WordsError(f"{path}: got {got}. {ALLOWED}")
    if any("conversation" in row for row in content):
        table = read_ecf(path)
        return list(zip(table["utterance"], table["text"], strict=True))
    for number, row in enumerate(content, start=1):
        if not {"clip", "text"} <= set(row):
            raise WordsError(f"{path}, row {number}: got the keys {', '.join(map(str, row))}. {ALLOWED}")
    return [(_word(path, row["clip"]), _word(path, row["text"])) for row in content]


def _word(path: Path, value: object) -> str:
    if not isinstance(value, str):
        raise WordsError(f"{path}: got {value!r}; expected words or the name of a clip. {ALLOWED}")
    return value
