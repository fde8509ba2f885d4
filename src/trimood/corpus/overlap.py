"""Which utterances of one corpus are in another: the same moment of the same episode, or the same words.

MELD and ECF are both cut from Friends. ECF's train file was made from all three files of MELD, its official test from
other scenes: by its spans, no test utterance shares a quarter of its time with an utterance of the train file. But the
series repeats itself: the test conversations 1785 and 1891 are flashbacks to the train conversations 230 and 644, which
are MELD's train dialogues 762 and 574. Only their words are the same.
"""

import re

import numpy as np
import pandas as pd

SAME_MOMENT = 0.5
"""The share of the shorter of two spans in which both must overlap: neighbours overlap by fractions of a second."""

FEWEST_WORDS, FEWEST_TEXTS = 4, 2
"""Two conversations are the same if they share this many texts, each of at least so many words, whatever their spans.

Shorter texts, such as "Oh my God!", are said in many scenes.
"""

_WORD = re.compile(r"[^\W_]+")
_APOSTROPHE = re.compile("[\u2018\u2019`]")
_WRITTEN_OUT = (
    ("can't", "cannot"),
    ("won't", "will not"),
    ("n't", " not"),
    ("'re", " are"),
    ("'m", " am"),
    ("'ll", " will"),
    ("'ve", " have"),
)
"""ECF writes out most of what MELD contracts; 's and 'd have several meanings and stay."""


def shared_with(table: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    """For each row the utterance of `others` that is the same; missing if there is none.

    Both tables have utterance, conversation_id, text, episode, start_seconds and end_seconds.
    """
    found = _at_the_same_time(table, others)
    return found.fillna(_of_the_same_words(table, others)).astype("str")


def _at_the_same_time(table: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    spans = ["utterance", "episode", "start_seconds", "end_seconds"]
    known = table.loc[table["episode"].notna(), spans].reset_index(names="row")
    pairs = known.merge(others.loc[others["episode"].notna(), spans], on="episode", suffixes=("", "_other"))
    starts, ends = pairs[["start_seconds", "start_seconds_other"]], pairs[["end_seconds", "end_seconds_other"]]
    overlap = ends.min(axis=1) - starts.max(axis=1)
    shorter = np.minimum(*(ends.to_numpy() - starts.to_numpy()).T) if len(pairs) else np.zeros(0)
    same = pairs[(overlap > 0) & (overlap >= SAME_MOMENT * shorter)]
    return same.drop_duplicates("row").set_index("row")["utterance_other"].reindex(table.index)


def _of_the_same_words(table: pd.DataFrame, others: pd.DataFrame) -> pd.Series:
    columns = ["utterance", "conversation_id", "words"]
    ours, theirs = (of.assign(words=of["text"].map(_words))[columns].reset_index(names="row") for of in (table, others))
    pairs = ours[ours["words"] != ""].merge(theirs, on="words", suffixes=("", "_other"))
    texts = pairs.groupby(["conversation_id", "conversation_id_other"])["words"].transform("nunique")
    same = pairs[texts >= FEWEST_TEXTS].drop_duplicates("row")
    return same.set_index("row")["utterance_other"].reindex(table.index)


def _words(text: str) -> str:
    """The words in small letters as ECF writes them; "" if they are too few to tell one scene from another."""
    plain = _APOSTROPHE.sub("'", text.lower())
    for short, long in _WRITTEN_OUT:
        plain = plain.replace(short, long)
    words = _WORD.findall(plain)
    return " ".join(words) if len(words) >= FEWEST_WORDS else ""
