"""Whether compared runs are alike in seeds, settings and scored utterances."""

from collections.abc import Sequence

import pandas as pd

SETTINGS = ("training.", "data.", "checkpoint.")
"""Beginnings of the columns of a table of runs that hold settings in which experiments should not differ."""

RunKey = tuple[str, int]
"""System and seed of a run."""


def unequal_seeds(runs: pd.DataFrame, chosen: bool) -> tuple[list[RunKey], list[str]]:
    """Returns the runs to leave out so that all systems have the same seeds, and what the reader has to know of it.

    `runs` has a row for each run, with the columns system and seed. Nothing is left out if the systems have equally
    many seeds, if they have none in common, or if the user has `chosen` the runs. Imported weights count for no seed.
    """
    runs = trained_here(runs)
    seeds = {str(name): set(rows["seed"].astype(int)) for name, rows in runs.groupby("system", sort=False)}
    if len({len(of) for of in seeds.values()}) < 2:
        return [], []
    common = set.intersection(*seeds.values())
    if chosen or not common:
        counts = "; ".join(f"{name} {_listed(of)}" for name, of in seeds.items())
        return [], [
            f"the experiments have different numbers of seeds, so some scores are surer than others: {counts}. Train "
            "them with the same seeds: kedro run --pipelines=… --params seeds=[…]"
        ]
    others = {name: of - common for name, of in seeds.items() if of - common}
    words = "; ".join(f"{name} {_listed(of)}" for name, of in others.items())
    return [(name, seed) for name, of in others.items() for seed in sorted(of)], [
        f"only the seeds that every experiment has are compared: {_listed(common)}. Left out are the seeds {words}. To "
        "compare these too, train the other experiments with them, or name runs with compare.runs"
    ]


def different_settings(runs: pd.DataFrame) -> list[str]:
    """Returns a sentence for each of SETTINGS in which the systems of `runs` differ; a missing value is unknown.

    The settings of imported weights are those of the experiment's file, and not known to be those of their training.
    """
    runs = trained_here(runs)
    firsts = runs.drop_duplicates("system")
    sentences = []
    for name in [str(name) for name in runs.columns if str(name).startswith(SETTINGS)]:
        if runs[name].nunique() > 1:
            values = ", ".join(f"{row['system']} {row[name]}" for row in firsts.dropna(subset=name).to_dict("records"))
            sentences.append(
                f"{name.partition('.')[0]} settings differ, so differences in score may not be due to the experiment: "
                f"{name}: {values}"
            )
    return sentences


def trained_here(runs: pd.DataFrame) -> pd.DataFrame:
    """Returns the runs whose weights were not imported; without the column `imported`, none was."""
    return runs[runs["imported"].isna()] if "imported" in runs else runs


def of_unknown_training(runs: pd.DataFrame) -> list[str]:
    """Returns a sentence for each system of imported weights."""
    here = set(trained_here(runs)["system"])
    return [
        f"{name} was trained elsewhere: on which utterances, with which settings and seed is not known here, so its "
        "score may be of utterances that it was trained on"
        for name in runs["system"].unique()
        if name not in here
    ]


def looks_at_the_test(runs: pd.DataFrame) -> list[str]:
    """Returns a sentence about trainings that were scored on the test split besides the compared ones, if there are."""
    looks = int(runs["test_looks"].max()) if "test_looks" in runs else 0
    if looks <= len(runs):
        return []
    return [
        f"{looks} finished trainings were scored on the test split, and {len(runs)} of them are compared: a choice "
        "among them by test scores is optimistic. Choose by validation"
    ]


def without(table: pd.DataFrame, left_out: Sequence[RunKey]) -> pd.DataFrame:
    """Returns the rows of all other runs; the table has the columns system and seed."""
    keys = pd.MultiIndex.from_frame(table[["system", "seed"]])
    return table[~keys.isin(left_out)] if left_out else table


def check_same_utterances(predictions: pd.DataFrame) -> None:
    """Checks that each system and seed has the same utterances with the same labels, in the same order.

    Scores and paired differences mean nothing otherwise. Raises ValueError that names the run.
    """
    columns = ["split", "utterance", "label"]
    first = None
    for (system, seed), rows in predictions.groupby(["system", "seed"], sort=False):
        scored = rows[columns].reset_index(drop=True)
        if first is None:
            first = scored
        elif not scored.equals(first):
            raise ValueError(
                f"{system}, seed {seed}: its {len(scored)} predictions are not of the same utterances and labels as "
                f"the {len(first)} of the first run. Compare runs of one corpus, split and data.clips.on_bad_clip."
            )


def _listed(seeds: set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))
