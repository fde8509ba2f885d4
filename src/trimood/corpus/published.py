"""The published annotation files of ECF: their counts and known anomalies.

Counted on the files of SemEval-2024 Task 3, https://github.com/NUSTM/SemEval-2024_ECAC; spans on MECPE's
`train_video_source_from_MECPE.json`, https://github.com/NUSTM/MECPE.
"""

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from trimood.corpus.ecf import class_counts
from trimood.emotions import EMOTIONS

Side = Literal["train", "official_test"]


@dataclass(frozen=True)
class Generation:
    """One published annotation file.

    `emotions` is empty for the file without labels. `anomalies` are counts by the names of trimood.corpus.anomalies;
    counts that are not known are left out.
    """

    name: str
    side: Side
    file: str
    conversations: int
    utterances: int
    emotions: dict[str, int] = field(default_factory=dict)
    anomalies: dict[str, int] = field(default_factory=dict)


TRAIN = Generation(
    name="ECF 2.0 train",
    side="train",
    file="Subtask_2_train.json",
    conversations=1374,
    utterances=13619,
    emotions=dict(zip(EMOTIONS, (1840, 373, 1147, 5929, 2301, 1615, 414), strict=True)),
    anomalies={
        "order_breaks": 560,
        "id_gaps": 0,
        "one_utterance_conversations": 41,
        "longest_conversation": 33,
        "typographic_texts": 54,
        "span_empty": 1,
        "span_under_half_second": 351,
        "span_repeated": 27,
        "broken_in_meld": 2,
        "in_meld_test": 2535,
        "meld_label_differs": 2375,
    },
)

TEST = Generation(
    name="ECF 2.0 test, labelled",
    side="official_test",
    file="Subtask_2_test.json",
    conversations=341,
    utterances=3101,
    emotions=dict(zip(EMOTIONS, (363, 151, 249, 1280, 700, 235, 123), strict=True)),
    anomalies={
        "id_gaps": 324,
        "one_utterance_conversations": 12,
        "typographic_texts": 0,
        "span_empty": 0,
        "span_repeated": 11,
    },
)

EVALUATION = Generation(
    name="ECF 2.0 evaluation release, without labels",
    side="official_test",
    file="Subtask_2_test_eval_release_unlabelled.json",
    conversations=665,
    utterances=6301,
)
"""341 of its conversations are in the labelled test file; the other 324 were never scored."""

GENERATIONS = (TRAIN, TEST, EVALUATION)


def generation_of(table: pd.DataFrame) -> Generation | None:
    """The published file with the same numbers of conversations and utterances; labels may differ (`differences`)."""
    size = (table["conversation_id"].nunique(), len(table))
    return next((known for known in GENERATIONS if (known.conversations, known.utterances) == size), None)


def nearest_generation(table: pd.DataFrame, side: Side) -> Generation | None:
    """The published file of a side with the closest number of conversations, if that differs by at most a tenth."""
    count = table["conversation_id"].nunique()
    nearest = min((g for g in GENERATIONS if g.side == side), key=lambda known: abs(known.conversations - count))
    return nearest if abs(nearest.conversations - count) <= nearest.conversations / 10 else None


def differences(table: pd.DataFrame, published: Generation) -> list[str]:
    """The counts of a table that differ from the published ones, such as "joy: 1 instead of 2,301"."""
    pairs = [
        ("conversations", table["conversation_id"].nunique(), published.conversations),
        ("utterances", len(table), published.utterances),
        *((emotion, count, published.emotions.get(emotion, 0)) for emotion, count in class_counts(table).items()),
    ]
    return [f"{name}: {got:,} instead of {wanted:,}" for name, got, wanted in pairs if got != wanted]
