"""The published annotation files of ECF and MELD: their counts and known anomalies.

ECF: counted on the files of SemEval-2024 Task 3, https://github.com/NUSTM/SemEval-2024_ECAC; spans on MECPE's
`train_video_source_from_MECPE.json`, https://github.com/NUSTM/MECPE. MELD: the tables of its README,
https://github.com/declare-lab/MELD, except for the conversations of its train file.
"""

from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from trimood.config.parameters import Corpus
from trimood.corpus.ecf import class_counts
from trimood.emotions import EMOTIONS

Side = Literal["train", "official_validation", "official_test"]
"""The annotation files of a corpus. MELD calls them train, dev and test; ECF has no file for validation."""


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
    corpus: Corpus = "ecf"


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

MELD_TRAIN = Generation(
    name="MELD train",
    side="train",
    file="train_sent_emo.csv",
    conversations=1038,  # MELD's README counts 1,039: no row has the number 60
    utterances=9989,
    emotions=dict(zip(EMOTIONS, (1205, 268, 683, 4710, 1743, 1109, 271), strict=True)),
    anomalies={"broken_in_meld": 1, "cut_wrongly_in_meld": 1},
    corpus="meld",
)

MELD_DEV = Generation(
    name="MELD dev",
    side="official_validation",
    file="dev_sent_emo.csv",
    conversations=114,
    utterances=1109,
    emotions=dict(zip(EMOTIONS, (150, 40, 111, 470, 163, 153, 22), strict=True)),
    anomalies={"broken_in_meld": 1, "cut_wrongly_in_meld": 0},
    corpus="meld",
)

MELD_TEST = Generation(
    name="MELD test",
    side="official_test",
    file="test_sent_emo.csv",
    conversations=280,
    utterances=2610,
    emotions=dict(zip(EMOTIONS, (281, 50, 208, 1256, 402, 345, 68), strict=True)),
    anomalies={"broken_in_meld": 0, "cut_wrongly_in_meld": 2},
    corpus="meld",
)

GENERATIONS = (TRAIN, TEST, EVALUATION, MELD_TRAIN, MELD_DEV, MELD_TEST)


def generation_of(table: pd.DataFrame, corpus: Corpus = "ecf") -> Generation | None:
    """The published file with the same numbers of conversations and utterances; labels may differ (`differences`)."""
    size = (corpus, table["conversation_id"].nunique(), len(table))
    return next((g for g in GENERATIONS if (g.corpus, g.conversations, g.utterances) == size), None)


def nearest_generation(table: pd.DataFrame, side: Side, corpus: Corpus = "ecf") -> Generation | None:
    """The published file of a side with the closest number of conversations, if that differs by at most a tenth."""
    count = table["conversation_id"].nunique()
    of_side = [known for known in GENERATIONS if (known.corpus, known.side) == (corpus, side)]
    nearest = min(of_side, key=lambda known: abs(known.conversations - count))
    return nearest if abs(nearest.conversations - count) <= nearest.conversations / 10 else None


def differences(table: pd.DataFrame, published: Generation) -> list[str]:
    """The counts of a table that differ from the published ones, such as "joy: 1 instead of 2,301"."""
    pairs = [
        ("conversations", table["conversation_id"].nunique(), published.conversations),
        ("utterances", len(table), published.utterances),
        *((emotion, count, published.emotions.get(emotion, 0)) for emotion, count in class_counts(table).items()),
    ]
    return [f"{name}: {got:,} instead of {wanted:,}" for name, got, wanted in pairs if got != wanted]
