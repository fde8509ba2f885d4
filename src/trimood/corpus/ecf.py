"""Reads and checks ECF 2.0 annotation files (SemEval-2024 Task 3).

A file is a list of {conversation_ID, conversation: [{utterance_ID, text, speaker, emotion, video_name}, ...]}.
`emotion` is absent from the unlabelled evaluation release and `video_name` from the Subtask_1 files; other keys
(emotion-cause_pairs, video_source) are ignored. Ids may have gaps and be in any order: in the published training file,
560 ids do not follow the previous one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, BaseModel, Field, StrictInt, StrictStr, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from trimood.config.parameters import did_you_mean, listed
from trimood.corpus.reading import as_meant, parse_json, shortened
from trimood.corpus.tables import UTTERANCE_COLUMNS
from trimood.emotions import CLASS_NUMBERS, EMOTIONS


def utterance_table(rows: Sequence[Mapping[str, object]] = ()) -> pd.DataFrame:
    """One row per utterance, in the order given; `label` follows from `emotion` (None = unlabelled)."""
    values = {name: [row.get(name) for row in rows] for name in UTTERANCE_COLUMNS}
    values["label"] = [None if emotion is None else CLASS_NUMBERS[str(emotion)] for emotion in values["emotion"]]
    return pd.DataFrame({name: pd.Series(values[name], dtype=dtype) for name, dtype in UTTERANCE_COLUMNS.items()})


def conform(table: pd.DataFrame) -> pd.DataFrame:
    """The table with UTTERANCE_COLUMNS in order and type. Raises ValueError for missing columns or a repeated key."""
    if missing := [name for name in UTTERANCE_COLUMNS if name not in table.columns]:
        raise ValueError(
            f"utterance table: no column {', '.join(missing)}; got {', '.join(map(str, table.columns))}; "
            f"expected {', '.join(UTTERANCE_COLUMNS)}. Build it with trimood.corpus.ecf.read_ecf."
        )
    repeated = table["utterance"][table["utterance"].duplicated()].unique()
    if len(repeated):
        raise ValueError(
            f"utterance table: {len(repeated)} keys occur in several rows, the first is {repeated[0]}; "
            "each utterance must have exactly one row. Remove the repeated rows."
        )
    return table[list(UTTERANCE_COLUMNS)].astype(UTTERANCE_COLUMNS).reset_index(drop=True)


def labelled(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that have an emotion."""
    return table[table["label"].notna()].reset_index(drop=True)


def class_counts(table: pd.DataFrame) -> dict[str, int]:
    """Utterances per emotion in class order, zeros included; unlabelled rows are not counted."""
    counts = table["label"].value_counts()
    return {emotion: int(counts.get(number, 0)) for number, emotion in enumerate(EMOTIONS)}


_EXPECTED = (
    "Expected a list of {conversation_ID: int, conversation: [{utterance_ID: int, text, speaker, "
    "emotion (left out if unlabelled), video_name (optional)}, ...]}"
)


class AnnotationError(Exception):
    """An annotation file that cannot be used; the message names the file, the places, and what is allowed."""


def known_emotion(emotion: str) -> str:
    """The emotion. Raises ValueError if it is not one of EMOTIONS."""
    if emotion in EMOTIONS:
        return emotion
    hint = did_you_mean(emotion.strip().lower(), list(EMOTIONS))
    raise ValueError(f"unknown label, expected one of {', '.join(EMOTIONS)}.{hint}")


def _storable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        # A lone surrogate escaped in JSON ("\ud83d") parses, but neither Parquet nor a tokenizer accepts it.
        message = f"character {error.start + 1} is half of a surrogate pair; write the whole character"
        raise ValueError(message) from None
    return text


def with_words(text: str) -> str:
    """The text. Raises ValueError if it is blank."""
    if not text.strip():
        raise ValueError("the text is empty; add the words, or remove the utterance from the file")
    return text


_Id = Annotated[StrictInt, Field(ge=0, lt=2**63)]  # int64 in the table


class _Utterance(BaseModel):
    utterance_ID: _Id
    text: Annotated[StrictStr, AfterValidator(_storable), AfterValidator(with_words)]
    speaker: Annotated[StrictStr, AfterValidator(_storable)]
    emotion: Annotated[StrictStr, AfterValidator(known_emotion)] | None = None
    video_name: StrictStr | None = None


class _Conversation(BaseModel):
    conversation_ID: _Id
    conversation: Annotated[list[_Utterance], Field(min_length=1)]


_FILE = TypeAdapter(list[_Conversation])


def read_ecf(path: Path, split_folder: str = "") -> pd.DataFrame:
    """Utterances of an annotation file in file order (UTTERANCE_COLUMNS).

    `split_folder` is put before the clip's name ("train" gives "train/dia1utt2.mp4"; "" leaves it beside the file).
    Does not check that the clips exist. Raises AnnotationError, which names up to ten problems at once.
    """
    return check_ecf(path.name, read_json(path, read_bytes(path)), split_folder)


def check_ecf(file_name: str, content: object, split_folder: str = "") -> pd.DataFrame:
    """The same as `read_ecf`, for the parsed content of a file."""
    try:
        conversations = _FILE.validate_python(content)
    except ValidationError as error:
        problems = [_in_words(content, problem) for problem in error.errors()]
    else:
        problems = (
            list(_contradictions(conversations)) if conversations else ["got an empty list without conversations"]
        )
    if problems:
        raise AnnotationError(
            f"{file_name}: {counted_list(problems, ' in the annotations')}\n"
            f"{_EXPECTED}. Correct these places in the file, or download it again."
        )
    return utterance_table(
        [
            {
                "utterance": _key(conversation, utterance),
                "conversation_id": conversation.conversation_ID,
                "utterance_id": utterance.utterance_ID,
                "speaker": as_meant(utterance.speaker),
                "text": as_meant(utterance.text),
                "emotion": utterance.emotion,
                "clip": str(PurePosixPath(split_folder, f"{_key(conversation, utterance)}.mp4")),
            }
            for conversation in conversations
            for utterance in conversation.conversation
        ]
    )


def _key(conversation: _Conversation, utterance: _Utterance) -> str:
    return f"dia{conversation.conversation_ID}utt{utterance.utterance_ID}"


def read_bytes(path: Path) -> bytes:
    """The bytes of an annotation file. Raises AnnotationError."""
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path}: cannot be read ({error.strerror}). Check the path and its permissions."
        raise AnnotationError(message) from error


def decoded(path: Path, content: bytes) -> str:
    """The text of an annotation file. Raises AnnotationError with the place of the first byte that is not UTF-8."""
    try:
        # "-sig": editors on Windows put a byte order mark before the text.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise AnnotationError(
            f"{path.name}, byte {error.start}: not UTF-8 (got {error.object[error.start]:#04x}). "
            "ECF files are UTF-8: save it as UTF-8, or download it again."
        ) from error


def read_json(path: Path, content: bytes) -> Any:
    """The parsed JSON of an annotation file. Raises AnnotationError with the place of the first error."""
    try:
        return parse_json(decoded(path, content))
    except ValueError as error:
        at = f", line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        problem = f"not JSON ({error.msg})" if isinstance(error, json.JSONDecodeError) else str(error)
        raise AnnotationError(
            f"{path.name}{at}: {problem}. {_EXPECTED}. Repair the line or download the file again."
        ) from error


def _in_words(content: Any, problem: ErrorDetails) -> str:
    """A pydantic error in plain words: conversation and utterance, with their ids if known, and the value."""
    steps = list(problem["loc"])
    places = []
    for noun in ("conversation", "utterance"):
        if steps and isinstance(number := steps[0], int):
            content = content[steps.pop(0)]
            known = isinstance(content, Mapping) and isinstance(content.get(f"{noun}_ID"), int)
            places.append(f"{noun} no. {number + 1}" + (f" ({noun}_ID {content[f'{noun}_ID']})" if known else ""))
        if steps[:1] != ["conversation"] or len(steps) == 1:
            break
        content = content[steps.pop(0)]
    where = ", ".join(places) or "whole file"
    field = f"{steps[0]}: " if steps else ""
    got = problem["input"]
    if problem["type"] == "missing":
        return f"{where}: {field}this key is missing; got the keys {shortened(', '.join(map(str, got)))}"
    wrong = problem["ctx"]["error"] if problem["type"] == "value_error" else problem["msg"]
    return f"{where}: {field}got {shortened(repr(got))} ({type(got).__name__}): {wrong}"


def _contradictions(conversations: list[_Conversation]) -> Iterator[str]:
    """Utterances that occur twice, and clips that are named after another utterance."""
    first_seen: dict[str, int] = {}
    for number, conversation in enumerate(conversations, start=1):
        for utterance in conversation.conversation:
            key = _key(conversation, utterance)
            where = (
                f"conversation no. {number} (conversation_ID {conversation.conversation_ID}), "
                f"utterance_ID {utterance.utterance_ID}"
            )
            if key in first_seen:
                yield f"{where}: duplicate utterance, also in conversation no. {first_seen[key]}; keep one"
            first_seen.setdefault(key, number)
            if utterance.video_name not in (None, f"{key}.mp4"):
                got = shortened(repr(utterance.video_name))
                yield f"{where}: video_name: got {got}, expected {key}.mp4 or no video_name"


def counted_list(problems: Sequence[str], what: str = "") -> str:
    """For an error message: "12 problems in the annotations." and the first ten of them, one per line."""
    return f"{len(problems)} problem{'s'[: len(problems) > 1]}{what}.\n  - " + listed(problems, 10, "\n  - ")
