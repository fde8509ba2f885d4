"""Emotion-cause pairs of SemEval-2024 Task 3: reads, checks and creates submissions.

A pair of Subtask 2 is ["3_surprise", "1"]: utterance 1 causes the surprise of utterance 3. A submission is a list of
{conversation_ID, conversation, emotion-cause_pairs} with every conversation of the official test file
(https://github.com/NUSTM/SemEval-2024_ECAC, CodaLab/submission/Subtask_2_pred.json).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple, TypedDict

import pandas as pd
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from trimood.corpus.ecf import counted_list, read_bytes, read_json
from trimood.corpus.reading import shortened
from trimood.emotions import EMOTIONS

CAUSED = tuple(emotion for emotion in EMOTIONS if emotion != "neutral")
"""The six emotions that have causes."""


class SubmissionError(Exception):
    """A file of pairs that the task's scorer would refuse or misread; the message names the errors."""


class CausePair(NamedTuple):
    """An utterance's emotion and the utterance that causes it, both of one conversation."""

    conversation_id: int
    utterance_id: int
    emotion: str
    cause_id: int


def _parsed(pair: Sequence[str]) -> tuple[int, str, int]:
    utterance, _, emotion = pair[0].partition("_")
    if not utterance.isdecimal() or emotion not in CAUSED or not pair[1].isdecimal():
        raise ValueError(f'expected ["3_surprise", "1"]: two utterance_IDs and one of {", ".join(CAUSED)}')
    return int(utterance), emotion, int(pair[1])


def _of_the_format(pair: tuple[str, str]) -> tuple[str, str]:
    _parsed(pair)
    return pair


class _Utterance(BaseModel):
    model_config = ConfigDict(extra="forbid")
    utterance_ID: StrictInt
    text: StrictStr
    speaker: StrictStr
    video_name: StrictStr


class _Conversation(BaseModel):
    model_config = ConfigDict(extra="forbid")
    conversation_ID: StrictInt
    conversation: list[_Utterance]
    pairs: Annotated[
        list[Annotated[tuple[StrictStr, StrictStr], AfterValidator(_of_the_format)]], Field(alias="emotion-cause_pairs")
    ]


_SUBMISSION = TypeAdapter(list[_Conversation])

SubmittedConversation = TypedDict(
    "SubmittedConversation",
    {"conversation_ID": int, "conversation": list[dict[str, object]], "emotion-cause_pairs": list[list[str]]},
)


def caused_by_themselves(utterances: pd.DataFrame, predicted: Mapping[str, str]) -> list[SubmittedConversation]:
    """The submission in which each utterance with an emotion other than neutral is its own cause.

    `utterances` are in the order of the official file; `predicted` maps an utterance's key to its emotion. Utterances
    without a prediction have no pair.
    """
    return [
        {
            "conversation_ID": int(str(number)),
            "conversation": [
                {"utterance_ID": position, "text": text, "speaker": speaker, "video_name": f"{key}.mp4"}
                for key, position, text, speaker in rows[["utterance", "utterance_id", "text", "speaker"]].to_numpy()
            ],
            "emotion-cause_pairs": [
                [f"{position}_{predicted[key]}", str(position)]
                for key, position in zip(rows["utterance"], rows["utterance_id"], strict=True)
                if predicted.get(key, "neutral") != "neutral"
            ],
        }
        for number, rows in utterances.groupby("conversation_id", sort=False)
    ]


def submitted_pairs(submission: object, utterances: pd.DataFrame) -> set[CausePair]:
    """The pairs of a submission for the official file that `utterances` was read from.

    Raises SubmissionError, which names up to ten problems at once: a wrong format; a conversation or utterance that is
    missing, repeated or not in the official file; a pair that is repeated or refers to another conversation.
    """
    try:
        conversations = _SUBMISSION.validate_python(submission)
    except ValidationError as error:
        raise _refusal([_in_words(submission, problem) for problem in error.errors()]) from None
    by_number = utterances.groupby("conversation_id", sort=False)["utterance_id"]
    official = {int(str(number)): ids.tolist() for number, ids in by_number}
    if problems := list(_problems(conversations, official)):
        raise _refusal(problems)
    return {CausePair(one.conversation_ID, *_parsed(pair)) for one in conversations for pair in one.pairs}


def read_pairs(path: Path) -> set[CausePair] | None:
    """The annotated pairs of an official Subtask 2 file, which must have been checked; None if it has no pairs.

    Also None for a Subtask 1 file: its causes are spans of words, and some pairs of Subtask 2 are missing.
    """
    content = read_json(path, read_bytes(path))
    if not path.name.startswith("Subtask_2") or not any("emotion-cause_pairs" in one for one in content):
        return None
    return {
        CausePair(one["conversation_ID"], *_parsed(pair))
        for one in content
        for pair in one.get("emotion-cause_pairs", [])
    }


def _problems(conversations: Sequence[_Conversation], official: Mapping[int, list[int]]) -> Iterator[str]:
    counts = Counter(one.conversation_ID for one in conversations)
    for number in official:
        if number not in counts:
            yield f"conversation {number} of the official file is missing"
    for number, count in counts.items():
        if number not in official:
            yield f"conversation {number} is not in the official file"
        elif count > 1:
            yield f"conversation {number} occurs {count} times"
    for one in conversations:
        where, ids = f"conversation {one.conversation_ID}", [row.utterance_ID for row in one.conversation]
        if ids != (wanted := official.get(one.conversation_ID, ids)):
            yield f"{where}: its utterance_IDs are {shortened(str(ids))}, in the official file {shortened(str(wanted))}"
        for pair, count in Counter(one.pairs).items():
            named = f"{where}: the pair {shortened(str(list(pair)))}"
            if count > 1:
                yield f"{named} occurs {count} times"
            utterance_id, _, cause_id = _parsed(pair)
            if not {utterance_id, cause_id} <= set(ids):
                yield f"{named} names an utterance that is not in the conversation"


def _in_words(submission: object, problem: ErrorDetails) -> str:
    first, *steps = problem["loc"] or (None,)
    faulty = submission[first] if isinstance(submission, list) and isinstance(first, int) else None
    known = isinstance(faulty, dict) and "conversation_ID" in faulty
    where = f"conversation {shortened(str(faulty['conversation_ID']))}" if known and faulty else "whole file"
    field = shortened(".".join(map(str, steps)))
    words = problem["msg"].removeprefix("Value error, ")
    return f"{where}{', ' + field if field else ''}: got {problem['input']!r:.60}: {words}"


def _refusal(problems: list[str]) -> SubmissionError:
    return SubmissionError(
        f"Subtask_2_pred.json: {counted_list(problems)}\n"
        "The task's scorer expects every conversation of the official test file once, with pairs of its own utterances."
    )
