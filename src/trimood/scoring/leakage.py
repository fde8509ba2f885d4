"""Leakage: how well a split can be scored without text, pictures or sound."""

import numpy as np
import pandas as pd

from trimood.corpus.data_report import SIDES, BetweenFiles, Leakage, LeakageProbe, WithinTrainFile
from trimood.corpus.ecf import UTTERANCE_COLUMNS, labelled
from trimood.corpus.published import Side
from trimood.scoring.metrics import summary_scores

RANDOM_TENTH, RANDOM_DRAWS = 0.1, 10
"""The share of utterances that random splits hold out, and the number of these splits."""


def measure_leakage(manifest: pd.DataFrame, seed: int) -> Leakage:
    """Probes the splits of a manifest and random splits by utterance, and counts overlaps between files and splits.

    `manifest` has the columns of the utterance table, and side, split, in_ecf and text_in_training_file.
    """
    rows = {
        name: manifest[manifest["split"] == name] for name in ("training", "validation", "held_out", "official_test")
    }
    training = rows.pop("training")
    probes = {name: probe(training, scored) for name, scored in rows.items()}
    train, test = (manifest[manifest["side"] == side] for side in ("train", "official_test"))
    texts = set(training["text"])
    return Leakage(
        splits={name: found for name, found in probes.items() if found},
        random_by_utterance=probe_random_splits(
            labelled(train[list(UTTERANCE_COLUMNS)]), RANDOM_TENTH, RANDOM_DRAWS, seed
        ),
        between_files=BetweenFiles(
            conversations_in_both=len(set(train["conversation_id"]) & set(test["conversation_id"])),
            conversations_of_the_same_words=len(_spoken(train) & _spoken(test)),
            test_utterances_verbatim_in_train=int(test["text_in_training_file"].sum()),
            texts_in_both=len(set(train["text"]) & set(test["text"])),
        ),
        within_train_file=WithinTrainFile(
            validation_utterances_verbatim_in_training=int(rows["validation"]["text"].isin(texts).sum()),
            held_out_utterances_verbatim_in_training=int(rows["held_out"]["text"].isin(texts).sum()),
        ),
        conversations_in_ecf=_conversations_in_ecf(manifest),
    )


def _conversations_in_ecf(manifest: pd.DataFrame) -> dict[Side, dict[Side, int]] | None:
    if manifest["in_ecf"].isna().all():
        return None
    ecf: tuple[Side, Side] = ("train", "official_test")
    numbers = {
        side: manifest[manifest["side"] == side].groupby("in_ecf")["conversation_id"].nunique() for side in SIDES
    }
    return {side: {of: int(found.get(of, 0)) for of in ecf} for side, found in numbers.items()}


def _spoken(table: pd.DataFrame, shortest: int = 3) -> set[tuple[str, ...]]:
    """The texts of each conversation of at least `shortest` utterances; shorter ones may be equal by chance."""
    said = table.sort_values("utterance_id").groupby("conversation_id")["text"].agg(tuple)
    return {texts for texts in said if len(texts) >= shortest}


def probe(training: pd.DataFrame, scored: pd.DataFrame) -> LeakageProbe | None:
    """Scores two predictions for labelled utterances: the nearest training label, and the most frequent one.

    Without a training utterance in the same conversation, the most frequent training label is used. Returns None if
    either table has no labelled utterance.
    """
    training, scored = training[training["label"].notna()], scored[scored["label"].notna()]
    if training.empty or scored.empty:
        return None
    labels = scored["label"].to_numpy(dtype=int)
    most_frequent = int(training["label"].astype(int).mode().iloc[0])
    copied = nearest_neighbour_labels(training, scored)
    shared = set(training["conversation_id"]) & set(scored["conversation_id"])
    return LeakageProbe(
        training_utterances=len(training),
        scored_utterances=len(scored),
        conversations_on_both_sides=len(shared),
        share_with_neighbour=float(copied.notna().mean()),
        neighbour_macro_f1=summary_scores(labels, copied.fillna(most_frequent).to_numpy(dtype=int))["macro_f1"],
        majority_macro_f1=summary_scores(labels, np.full(len(labels), most_frequent))["macro_f1"],
    )


def probe_random_splits(table: pd.DataFrame, fraction: float, draws: int, seed: int) -> LeakageProbe | None:
    """Averages `probe` over several random splits by utterance; None if the table is too small to split."""
    count = round(fraction * len(table))
    rng = np.random.default_rng(seed)
    probes = []
    for _ in range(draws):
        order = rng.permutation(len(table))
        probes.append(probe(table.iloc[order[count:]], table.iloc[order[:count]]))
    found = pd.DataFrame([of.model_dump() for of in probes if of])
    return LeakageProbe(**{str(name): float(mean) for name, mean in found.mean().items()}) if len(found) else None


def nearest_neighbour_labels(training: pd.DataFrame, scored: pd.DataFrame) -> pd.Series:
    """The label of the nearest training utterance in each scored utterance's conversation; missing if there is none.

    If two are equally near, the earlier one is used. Both tables have conversation_id, utterance_id and label.
    """
    places = ["conversation_id", "utterance_id"]
    ordered = scored[places].reset_index(names="row").sort_values("utterance_id")
    neighbours = training[[*places, "label"]].sort_values("utterance_id")
    found = pd.merge_asof(ordered, neighbours, on="utterance_id", by="conversation_id", direction="nearest")
    return found.set_index("row")["label"].reindex(scored.index)
