"""Words for the user's own clips: tables (CSV, JSON, ECF's annotations), and errors for subtitles and transcripts."""

from collections.abc import Mapping
from pathlib import Path

from trimood.corpus.ecf import AnnotationError, read_ecf
from trimood.corpus.reading import TextError, csv_rows, in_one_line, parse_json, shortened
from trimood.corpus.subtitles import Cue, cues_of

TABLES = (".csv", ".json")
"""Endings of files with the words of several clips."""

ALLOWED = (
    "Supported: CSV with the columns clip,text; JSON as {clip: text}, as [{clip, text}, ...] or in ECF's format; "
    "SRT and WebVTT; Whisper's JSON and TSV."
)


class WordsError(Exception):
    """A file with words, or a choice of clips, that cannot be used."""


def read_words(path: Path) -> dict[str, str]:
    """The words of each clip in a table, in its order, with clips named as in the table. Raises WordsError."""
    try:
        pairs = _of_csv(path) if path.suffix.lower() == ".csv" else _of_json(path)
    except TextError as error:
        raise WordsError(f"{path}{', ' if error.place else ': '}{error}. {ALLOWED}") from error
    except (OSError, ValueError, AnnotationError) as error:
        raise WordsError(f"{path}: cannot be read ({_in_words(error)}). {ALLOWED}") from error
    if not pairs:
        raise WordsError(f"{path}: it has no row with a clip and its words. {ALLOWED}")
    words: dict[str, str] = {}
    for clip, text in pairs:
        if clip in words:
            raise WordsError(f"{path}: {shortened(clip)} occurs twice; keep one row for each clip.")
        words[clip] = in_one_line(text)
    return words


def read_cues(path: Path) -> list[Cue]:
    """The cues of subtitles or a transcript that have words, in order of time, without markup. Raises WordsError."""
    try:
        return cues_of(path)
    except (OSError, ValueError) as error:
        raise WordsError(f"{path}: cannot be read as subtitles ({_in_words(error)}). {ALLOWED}") from error


def _in_words(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"byte {error.start}, {error.object[error.start]:#04x}, is not UTF-8: save the file as UTF-8"
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _of_csv(path: Path) -> list[tuple[str, str]]:
    # Not pandas: if the first row has an extra comma, it shifts all columns.
    rows = csv_rows(path)
    _, columns = next(rows, (1, []))
    if columns.count("clip") != 1 or columns.count("text") != 1:
        raise TextError(f"got the columns {shortened(', '.join(columns))}")
    clip, text = columns.index("clip"), columns.index("text")
    pairs = []
    for line, row in rows:
        if len(row) != len(columns):
            problem = f"got {len(row)} fields, the header has {len(columns)}. Put words with a comma in double quotes"
            raise TextError(f'{problem}: a.mp4,"Oh, no!"', f"line {line}")
        pairs.append((row[clip], row[text]))
    return pairs


def _of_json(path: Path) -> list[tuple[str, str]]:
    content = parse_json(path.read_text(encoding="utf-8-sig"))
    if isinstance(content, dict):
        return [(clip, _word(text, f"key {shortened(clip)!r}")) for clip, text in content.items()]
    if not isinstance(content, list):
        raise TextError(f"got {shortened(repr(content))}")
    if strange := [type(row).__name__ for row in content if not isinstance(row, Mapping)]:
        raise TextError(f"got a list of {strange[0]}")
    if any("conversation" in row for row in content):
        table = read_ecf(path)
        return list(zip(table["utterance"], table["text"], strict=True))
    pairs = []
    for number, row in enumerate(content, start=1):
        if not {"clip", "text"} <= set(row):
            raise TextError(f"got the keys {shortened(', '.join(row))}", f"row {number}")
        pairs.append((_word(row["clip"], f"row {number}"), _word(row["text"], f"row {number}")))
    return pairs


def _word(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise TextError(f"got {shortened(repr(value))}; expected words or the name of a clip", place)
    return value
