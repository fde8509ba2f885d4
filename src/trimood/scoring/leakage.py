"""How much a split gives away by itself: what is scored without any input at all."""

from typing import Any

import numpy as np
import pandas as pd

from trimood.scoring.metrics import summary_scores


def nearest_neighbour_labels(training: pd.DataFrame, scored: pd.DataFrame) -> pd.Series:
    """For each scored utterance the label of the nearest training utterance of the same conversation, else missing.

    The earlier one counts of two that are equally near. Both tables have conversation_id, utterance_id and label.
    """
    places = ["conversation_id", "utterance_id"]
    ordered = scored[places].reset_index(names="row").sort_values("utterance_id")
    neighbours = training[[*places, "label"]].sort_values("utterance_id")
    found = pd.merge_asof(ordered, neighbours, on="utterance_id", by="conversation_id", direction="nearest")
    return found.set_index("row")["label"].reindex(scored.index)


def leakage(training: pd.DataFrame, scored: pd.DataFrame) -> dict[str, Any] | None:
    """What copying the nearest training utterance's label scores, beside the most frequent label for all.

    An utterance without a training utterance in its conversation gets the most frequent label of training. Shares are
    of the scored utterances. None where a side is empty.
    """
    training, scored = training[training["label"].notna()], scored[scored["label"].notna()]
    if training.empty or scored.empty:
        return None
    labels = scored["label"].to_numpy(dtype=int)
    most_frequent = int(training["label"].astype(int).mode().iloc[0])
    copied = nearest_neighbour_labels(training, scored)
    shared = set(training["conversation_id"]) & set(scored["conversation_id"])
    return {
        "training_utterances": len(training),
        "scored_utterances": len(scored),
        "conversations_on_both_sides": len(shared),
        "share_with_neighbour": float(copied.notna().mean()),
        "neighbour_macro_f1": summary_scores(labels, copied.fillna(most_frequent).to_numpy(dtype=int))["macro_f1"],
        "majority_macro_f1": summary_scores(labels, np.full(len(labels), most_frequent))["macro_f1"],
    }


def random_split_leakage(table: pd.DataFrame, fraction: float, draws: int, seed: int) -> dict[str, Any] | None:
    """The same where a share of all utterances is held out at random, by utterance: the mean of several draws.

    None where the table is too small for that.
    """
    count = round(fraction * len(table))
    rng = np.random.default_rng(seed)
    probes = []
    for _ in range(draws):
        order = rng.permutation(len(table))
        probes.append(leakage(table.iloc[order[count:]], table.iloc[order[:count]]))
    found = pd.DataFrame([probe for probe in probes if probe])
    return {str(name): float(mean) for name, mean in found.mean().items()} if len(found) else None
