"""Scores of the user's own utterances, as far as their true emotions are known."""

from typing import Any

import numpy as np
import pandas as pd

from trimood.emotions import CLASS_NUMBERS
from trimood.scoring.intervals import (
    count_confusions,
    draw_conversations,
    estimate,
    f1_of_classes,
    sample_score,
    weighted_f1,
)
from trimood.scoring.metrics import classification_report

FEWEST_CONVERSATIONS = 5
"""Of fewer conversations there is no interval: the variance between so few is hardly known."""

_SAME = 1e-9
"""Intervals that are narrower come from draws that all have the same score."""


def score_known(
    predictions: pd.DataFrame, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Returns `metrics.Report`, with another macro F1, and more; empty if no true emotion is known.

    `predictions` has the columns emotion ("" if unknown), predicted and conversation_id. Macro F1 is the mean over the
    emotions that occur, as in `groups`, and `emotions` their number. `conversations` and `confidence` are of the
    `intervals`, which have low and high of macro and weighted F1; `no_interval` says why one is missing, or is "".
    Utterances that stand alone have none: nobody knows how alike they are.
    """
    known = predictions[predictions["emotion"] != ""]
    if not len(known):
        return {}
    true, found = (known[name].map(CLASS_NUMBERS).to_numpy(dtype=int) for name in ("emotion", "predicted"))
    conversations = known["conversation_id"]
    confusions = count_confusions(true, found, conversations)[None]
    occurs = np.unique(true)

    def macro_f1(counts: np.ndarray) -> np.ndarray:
        return np.asarray(f1_of_classes(counts)[..., occurs].mean(-1))

    count, intervals, no_interval = conversations.nunique(), {}, ""
    if (conversations == "").any():
        no_interval = "not all of these utterances are in conversations"
    elif count < FEWEST_CONVERSATIONS:
        said = "1 conversation is" if count == 1 else f"{count} conversations are"
        no_interval = f"{said} too few, {FEWEST_CONVERSATIONS} are needed"
    else:
        draws = draw_conversations(count, resamples, seed)
        for name, of in (("macro_f1", macro_f1), ("weighted_f1", weighted_f1)):
            estimated = estimate(sample_score(of, confusions, draws), confidence)
            if estimated.high - estimated.low > _SAME:
                intervals[name] = [estimated.low, estimated.high]
            else:
                no_interval = "the score is the same whichever conversations are drawn"
    return {
        **classification_report(true, found),
        "macro_f1": float(macro_f1(confusions[0].sum(axis=0))),
        "emotions": len(occurs),
        "conversations": int(count),
        "confidence": confidence,
        "intervals": intervals,
        "no_interval": no_interval,
    }
