"""Words for the user's own clips: tables (CSV, JSON, ECF's annotations), and errors for subtitles and transcripts."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from trimood.corpus.ecf import AnnotationError, read_ecf
from trimood.corpus.reading import TextError, csv_rows, in_one_line, parse_json, shortened
from trimood.corpus.subtitles import Cue, cues_of
from trimood.emotions import EMOTIONS

TABLES = (".csv", ".json")
"""Endings of files with the words of several clips."""

ALLOWED = (
    "Supported: CSV with the columns clip,text, and if you like conversation,order,speaker,emotion; JSON as "
    "{clip: text}, as [{clip, text}, ...] with the same keys, or in ECF's format; SRT and WebVTT; Whisper's JSON and "
    "TSV."
)

_OF_A_CONVERSATION = ("conversation", "order", "speaker")


class WordsError(Exception):
    """A file with words, or a choice of clips, that cannot be used."""


class Said(NamedTuple):
    """Words; the conversation in which they are said ("" if they stand alone), their place there, and who says them.

    `emotion` is the true one, "" if it is unknown.
    """

    text: str
    conversation: str = ""
    order: int = 0
    speaker: str = ""
    emotion: str = ""


def read_words(path: Path) -> dict[str, Said]:
    """The words of each clip in a table, in its order, with clips named as in the table. Raises WordsError.

    Without a column `order`, the rows of a conversation are in its order.
    """
    try:
        pairs = _of_csv(path) if path.suffix.lower() == ".csv" else _of_json(path)
    except TextError as error:
        raise WordsError(f"{path}{', ' if error.place else ': '}{error}. {ALLOWED}") from error
    except (OSError, ValueError, AnnotationError) as error:
        raise WordsError(f"{path}: cannot be read ({_in_words(error)}). {ALLOWED}") from error
    if not pairs:
        raise WordsError(f"{path}: it has no row with a clip and its words. {ALLOWED}")
    words: dict[str, Said] = {}
    taken: set[tuple[str, int]] = set()
    for clip, said in pairs:
        if clip in words:
            raise WordsError(f"{path}: {shortened(clip)} occurs twice; keep one row for each clip.")
        if said.conversation and (said.conversation, said.order) in taken:
            where = f"order {said.order} of conversation {shortened(said.conversation)}"
            raise WordsError(f"{path}: {where} is given to two clips; number the utterances of a conversation.")
        taken.add((said.conversation, said.order))
        words[clip] = said._replace(text=in_one_line(said.text), speaker=in_one_line(said.speaker))
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


def _of_csv(path: Path) -> list[tuple[str, Said]]:
    # Not pandas: if the first row has an extra comma, it shifts all columns.
    rows = csv_rows(path)
    _, columns = next(rows, (1, []))
    known = ("clip", "text", *_OF_A_CONVERSATION, "emotion")
    if not {"clip", "text"} <= set(columns) or any(columns.count(name) > 1 for name in known):
        raise TextError(f"got the columns {shortened(', '.join(columns))}")
    pairs = []
    for number, (line, row) in enumerate(rows, start=1):
        if len(row) != len(columns):
            problem = f"got {len(row)} fields, the header has {len(columns)}. Put words with a comma in double quotes"
            raise TextError(f'{problem}: a.mp4,"Oh, no!"', f"line {line}")
        cells = dict(zip(columns, row, strict=True))
        pairs.append((cells["clip"], _said(cells, number, f"line {line}")))
    return pairs


def _of_json(path: Path) -> list[tuple[str, Said]]:
    content = parse_json(path.read_text(encoding="utf-8-sig"))
    if isinstance(content, dict):
        return [(clip, Said(_word(text, f"key {shortened(clip)!r}"))) for clip, text in content.items()]
    if not isinstance(content, list):
        raise TextError(f"got {shortened(repr(content))}")
    if strange := [type(row).__name__ for row in content if not isinstance(row, Mapping)]:
        raise TextError(f"got a list of {strange[0]}")
    if any(isinstance(row.get("conversation"), list) for row in content):
        table = read_ecf(path)
        columns = ["text", "conversation_id", "utterance_id", "speaker", "emotion"]
        of_each = table.assign(emotion=table["emotion"].fillna(""))[columns].values.tolist()
        said = [Said(text, str(conversation), place, *others) for text, conversation, place, *others in of_each]
        return list(zip(table["utterance"], said, strict=True))
    pairs = []
    for number, row in enumerate(content, start=1):
        if not {"clip", "text"} <= set(row):
            raise TextError(f"got the keys {shortened(', '.join(row))}", f"row {number}")
        pairs.append((_word(row["clip"], f"row {number}"), _said(row, number, f"row {number}")))
    return pairs


def _said(row: Mapping[str, object], number: int, place: str) -> Said:
    """The words in a row of a table, and what it says of their conversation; `number` is that of the row."""
    given = (row.get(name) for name in ("conversation", "speaker", "order"))
    conversation, speaker, order = ("" if value is None else str(value).strip() for value in given)
    if conversation and "order" in row and not re.fullmatch(r"\d{1,18}", order):
        raise TextError(f"order is {shortened(order) or 'empty'}; expected a whole number within conversation", place)
    at = int(order) if conversation and order else number
    return Said(_word(row["text"], place), conversation, at, speaker, _emotion(row.get("emotion"), place))


def _emotion(value: object, place: str) -> str:
    """The true emotion, in any case; "" without one."""
    emotion = ("" if value is None else str(value)).strip().lower()
    if emotion and emotion not in EMOTIONS:
        raise TextError(
            f"emotion is {shortened(str(value))!r}; allowed are {', '.join(EMOTIONS)}, or nothing where it is unknown",
            place,
        )
    return emotion


def _word(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise TextError(f"got {shortened(repr(value))}; expected words or the name of a clip", place)
    return value
