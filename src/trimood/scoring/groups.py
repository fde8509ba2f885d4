"""Scores of groups of test utterances: where errors are."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd

from trimood.emotions import CLASS_NUMBERS, MODALITIES
from trimood.scoring.intervals import count_confusions, f1_of_classes

FEW = 30
"""Groups of fewer utterances are said to be small: the standard error of their accuracy is up to 0.09."""

SPEAKERS = 8
"""The speakers with the most utterances have a group each; all others share one."""

WORDS = (0, 1, 4, 8, 16)
"""The least words of each group of lengths, without the last end."""

POSITIONS = (1, 2, 4, 8, 16)
"""The first positions of each group of positions in the conversation, without the last end."""

OTHERS = "all others"


def group_utterances(utterances: pd.DataFrame, examples: pd.DataFrame) -> dict[str, pd.Series]:
    """Returns each utterance's group as a categorical, by kind of group; a kind is left out if nothing is known of it.

    `utterances` has a row for each test utterance: utterance, conversation_id, utterance_id, text and, if known,
    speaker. Kinds are "speaker", "words", "position in the conversation", and the name of each modality, with the
    groups "present" and "absent". Video and audio are known if `examples`, with has_video and has_audio, has all of the
    utterances.
    """
    utterances = utterances.set_index("utterance", drop=False)
    found: dict[str, pd.Series] = {}
    if "speaker" in utterances and utterances["speaker"].nunique() > 1:
        names = utterances["speaker"].astype(str)
        often = list(names.value_counts().sort_index().sort_values(ascending=False, kind="stable").index[:SPEAKERS])
        found["speaker"] = _named(names.where(names.isin(often), OTHERS), [*often, OTHERS])
    words = utterances["text"].map(lambda text: len(str(text).split()))
    found["words"] = _in_ranges(words, WORDS)
    places = utterances.groupby("conversation_id")["utterance_id"].rank(method="first").astype(int)
    found["position in the conversation"] = _in_ranges(places, POSITIONS)
    known = examples.set_index("utterance").reindex(utterances["utterance"])
    presence = {"text": words > 0}
    for modality in ("video", "audio"):
        column = known.get(f"has_{modality}")
        if column is not None and column.notna().all():
            presence[modality] = column.astype(bool)
    for modality in MODALITIES:
        if modality in presence:
            found[modality] = _named(presence[modality].map({True: "present", False: "absent"}), ["present", "absent"])
    return found


def score_groups(predictions: pd.DataFrame, groups: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Returns a row for each kind, system and group: utterances, emotions, macro F1 and accuracy, as means over seeds.

    `predictions` are those of the test split. `groups` are those of `group_utterances`, with the utterance as index.
    `emotions` is the number of emotions that occur in the group, and macro F1 the mean over these: a group without
    disgust cannot show how well disgust is recognised.
    """
    numbered = predictions.assign(predicted=predictions["predicted"].map(CLASS_NUMBERS))
    rows = []
    for kind, names in groups.items():
        numbered["group"] = numbered["utterance"].map(names.cat.codes)
        for system, of_system in numbered.groupby("system", sort=False):
            seeds = (of_seed for _, of_seed in of_system.groupby("seed"))
            # [seed, group, true, predicted]
            counts = np.stack([count_confusions(of["label"], of["predicted"], of["group"]) for of in seeds])
            sizes, occurs = counts.sum(axis=(2, 3)), counts.sum(axis=3) > 0
            macro_f1 = (f1_of_classes(counts) * occurs).sum(axis=2) / occurs.sum(axis=2)
            accuracy = np.trace(counts, axis1=2, axis2=3) / sizes
            rows += [
                {
                    "kind": kind,
                    "group": group,
                    "system": system,
                    "utterances": int(sizes[0, place]),
                    "emotions": int(occurs[0, place].sum()),
                    "macro_f1": float(macro_f1[:, place].mean()),
                    "accuracy": float(accuracy[:, place].mean()),
                }
                for place, group in enumerate(names.cat.categories)
            ]
    columns = ["kind", "group", "system", "utterances", "emotions", "macro_f1", "accuracy"]
    return pd.DataFrame(rows, columns=columns)


def _in_ranges(numbers: pd.Series, starts: tuple[int, ...]) -> pd.Series:
    """The range of each number, such as "4 to 7"; the ranges are in their order."""
    names = [str(low) if low == high - 1 else f"{low} to {high - 1}" for low, high in pairwise(starts)]
    names.append(f"{starts[-1]} or more")
    return _named(pd.Series(np.array(names)[np.searchsorted(starts, numbers, side="right") - 1], numbers.index), names)


def _named(names: pd.Series, order: list[str]) -> pd.Series:
    """The names as a categorical with those that occur, in this order."""
    return names.astype(pd.CategoricalDtype(order)).cat.remove_unused_categories()
