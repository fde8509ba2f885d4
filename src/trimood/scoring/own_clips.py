"""Scores of the user's own utterances, as far as their true emotions are known."""

from typing import Any

import pandas as pd

from trimood.emotions import CLASS_NUMBERS
from trimood.scoring.intervals import (
    count_confusions,
    draw_conversations,
    estimate,
    macro_f1,
    sample_score,
    weighted_f1,
)
from trimood.scoring.metrics import classification_report


def score_known(
    predictions: pd.DataFrame, resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Any]:
    """Returns `metrics.Report` with `conversations`, `confidence` and `intervals`; empty if no true emotion is known.

    `predictions` has the columns emotion ("" if unknown), predicted and conversation_id. `intervals` has low and high
    of macro and weighted F1 if the utterances are of at least two conversations, and none stands alone: of utterances
    that stand alone nobody knows how alike they are.
    """
    known = predictions[predictions["emotion"] != ""]
    if not len(known):
        return {}
    true, found = (known[name].map(CLASS_NUMBERS).to_numpy(dtype=int) for name in ("emotion", "predicted"))
    conversations = known["conversation_id"]
    count, intervals = conversations.nunique(), {}
    if count > 1 and (conversations != "").all():
        confusions = count_confusions(true, found, conversations)[None]
        draws = draw_conversations(count, resamples, seed)
        for name, of in (("macro_f1", macro_f1), ("weighted_f1", weighted_f1)):
            estimated = estimate(sample_score(of, confusions, draws), confidence)
            intervals[name] = [estimated.low, estimated.high]
    return {
        **classification_report(true, found),
        "conversations": int(count),
        "confidence": confidence,
        "intervals": intervals,
    }
