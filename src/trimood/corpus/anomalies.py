"""Anomalies of annotations: counts over conversations, and marks for utterances."""

import re

import numpy as np
import pandas as pd

from trimood.corpus.meld import BROKEN_IN_MELD, CUT_WRONGLY_IN_MELD

SHORT_SPAN_SECONDS = 0.5
"""A shorter span contains hardly a word. The published train file has 351 of them."""

LONG_SPAN_SECONDS = 30.0
"""A longer span is not a single utterance. The published train file has two (41 s, 305 s); the next longest is 29 s."""

SLOWEST_WORDS_PER_SECOND, FASTEST_WORDS_PER_SECOND = 0.2, 12.0
"""Tukey's fences of the logarithm of words per second on the published train file (quartiles 1.84 and 3.90): 1.5
interquartile ranges above, as nobody speaks faster, and 3 below, as pauses and laughter are natural."""

_WORD = re.compile(r"\w+")
_SPACE_BEFORE_MARK = re.compile(r"\s[.,!?;:]")


def word_count(texts: pd.Series) -> pd.Series:
    """Number of words of each text. Words are runs of letters and digits: separate punctuation marks do not count."""
    return texts.map(lambda text: len(_WORD.findall(text))).astype("int64")


def conversation_anomalies(table: pd.DataFrame) -> dict[str, int]:
    """Counts over the conversations of one file, in the order of the file."""
    ids = table["conversation_id"].drop_duplicates().to_numpy()
    numbers = table.groupby("conversation_id")["utterance_id"]
    lengths = numbers.size()
    broken = numbers.apply(lambda own: sorted(own) != list(range(1, len(own) + 1)))
    return {
        "order_breaks": int((np.diff(ids) != 1).sum()),
        "id_gaps": int(ids.max() - ids.min() + 1 - len(ids)) if len(ids) else 0,
        "utterance_ids_not_1_to_n": int(broken.sum()),
        "one_utterance_conversations": int((lengths == 1).sum()),
        "longest_conversation": int(lengths.max()) if len(lengths) else 0,
    }


def utterance_anomalies(table: pd.DataFrame) -> pd.DataFrame:
    """A boolean column for each anomaly of an utterance, for the rows of one file.

    `table` has UTTERANCE_COLUMNS, SPAN_COLUMNS, MELD_COLUMNS, words and from_ecf.
    """
    theirs, ours = table["meld_emotion"], table["emotion"]
    marks = {
        "typographic_texts": ~table["text"].map(str.isascii).astype(bool),
        "tokenised_texts": table["text"].map(lambda text: bool(_SPACE_BEFORE_MARK.search(text))),
        # ECF's names may be those of another corpus in its layout; MELD's names are of no other corpus.
        "broken_in_meld": (table["utterance"].isin(list(BROKEN_IN_MELD)) & table["from_ecf"])
        | table["utterance"].isin(BROKEN_IN_MELD.values()),
        "cut_wrongly_in_meld": table["utterance"].isin(CUT_WRONGLY_IN_MELD),
        "in_meld_test": table["meld_split"].eq("test").fillna(False),
        "meld_label_differs": theirs.notna() & ours.notna() & (theirs != ours),
    }
    return pd.DataFrame(marks).astype(bool).join(span_anomalies(table))


def span_anomalies(table: pd.DataFrame) -> pd.DataFrame:
    """Anomalies of spans: empty, very short, very long, or equal to the span of an earlier row (only the later)."""
    seconds = span_seconds(table)
    same = table.duplicated(["episode", "start_seconds", "end_seconds"]) & table["episode"].notna()
    return pd.DataFrame(
        {
            "span_empty": seconds <= 0,
            "span_under_half_second": seconds < SHORT_SPAN_SECONDS,
            "span_over_half_minute": seconds > LONG_SPAN_SECONDS,
            "span_repeated": same,
        }
    ).astype(bool)


def span_seconds(table: pd.DataFrame) -> pd.Series:
    """Length of each utterance's span, rounded to milliseconds as annotated; missing if there is no span."""
    return (table["end_seconds"] - table["start_seconds"]).round(3)


def pace_anomalies(words: pd.Series, seconds: pd.Series) -> pd.DataFrame:
    """Utterances with too many or too few words per second; unknown seconds give neither, and zero seconds too many."""
    pace = words / seconds.where(seconds > 0)
    return pd.DataFrame(
        {
            "too_many_words": (pace > FASTEST_WORDS_PER_SECOND) | (seconds <= 0),
            "too_few_words": pace < SLOWEST_WORDS_PER_SECOND,
        }
    ).astype(bool)


def repeated_texts(texts: pd.Series, others: pd.Series) -> pd.Series:
    """Which of the texts occur verbatim among the others."""
    return texts.isin(set(others))
