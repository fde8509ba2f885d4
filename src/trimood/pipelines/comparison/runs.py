"""Which MLflow runs are compared, and what they are called."""

import logging
from collections.abc import Sequence
from typing import Any

import pandas as pd

log = logging.getLogger(__name__)

SCORES = ("validation/macro_f1", "test/macro_f1")

SEED = "params.training.seed"

INDIFFERENT = [f"params.data.clips.{name}" for name in ("executor", "workers", "time_limit_seconds")]
"""Params that say how work is done and change no result; what they may cost, a clip, is in the table of exclusions."""


class NoRuns(Exception):
    """MLflow holds nothing that could be reported."""


class WrongRun(Exception):
    """A run that was named cannot be compared with the others."""


def latest_runs(mlflow_runs: pd.DataFrame, corpus_description: dict[str, Any]) -> pd.DataFrame:
    """The latest finished whole run of each experiment and seed, as far as they can be compared, in order of both.

    `mlflow_runs` is what `mlflow.search_runs` gives. Compared are runs of the current train and test file, with the
    split, the clips and the checkpoints of the latest of them; within an experiment also with its latest run's
    settings, all but the seed. The log names what is left out, and why. Raises NoRuns.
    """
    runs = _of_corpus(mlflow_runs, corpus_description)
    if runs.empty:
        raise NoRuns(
            f"MLflow holds no finished run on the corpus {corpus_description['train']['sha256']}; "
            f"{len(mlflow_runs)} runs were looked at. Run experiments first: kedro run --pipelines=exp3,exp4"
        )
    runs = runs.sort_values("start_time")
    runs = _like_the_latest(runs, _columns(runs, "params.data.", "params.checkpoint."))
    settings = [name for name in _columns(runs, "params.") if name != SEED]
    runs = pd.concat([_like_the_latest(rows, settings) for _, rows in runs.groupby("tags.experiment")])
    key = ["tags.experiment", SEED]
    return _in_order(runs.drop_duplicates(key, keep="last"))


def named_runs(mlflow_runs: pd.DataFrame, run_ids: Sequence[str]) -> pd.DataFrame:
    """The runs of these ids, in order of experiment and seed. Raises WrongRun for one that holds no whole experiment.

    They may differ in anything: `system_names` tells apart what one experiment was run with.
    """
    known = mlflow_runs.set_index("run_id", drop=False) if len(mlflow_runs) else pd.DataFrame(columns=["run_id"])
    missing = [run for run in run_ids if run not in known.index]
    if missing:
        raise WrongRun(
            f"compare.runs: MLflow holds no run {', '.join(missing)}. Wanted are run ids of 32 digits and letters: a "
            "run's page in MLflow (make ui) shows its own."
        )
    runs = known.loc[list(run_ids)]
    whole = _whole(runs)
    if not whole.all():
        raise WrongRun(
            f"compare.runs: {', '.join(runs['run_id'][~whole])} cannot be compared: not a finished run of a whole "
            "experiment. Name runs that are, or none: then the latest of each experiment and seed are compared."
        )
    return _in_order(runs)


def system_names(runs: pd.DataFrame) -> pd.Series:
    """What each run is a seed of: its experiment, with the settings that tell it from others of the same name.

    Raises WrongRun where two runs differ in nothing.
    """
    columns = [name for name in _columns(runs, "params.") if name != SEED]
    names: list[str] = []
    for _, run in runs.iterrows():
        alike = runs[runs["tags.experiment"] == run["tags.experiment"]]
        different = [name for name in columns if alike[name].nunique() > 1]
        words = ", ".join(f"{name.removeprefix('params.')}={run[name]}" for name in different)
        names.append(f"{run['tags.experiment']} ({words})" if words else str(run["tags.experiment"]))
    systems = pd.Series(names, index=runs.index)
    twice = pd.DataFrame({"system": systems, SEED: runs[SEED]}).duplicated(keep=False)
    if twice.any():
        raise WrongRun(
            f"compare.runs: {', '.join(runs['run_id'][twice])} are one experiment with one seed and the same settings: "
            "counted as two, they would make chance look smaller than it is. Name one of them."
        )
    return systems


def _in_order(runs: pd.DataFrame) -> pd.DataFrame:
    return runs.assign(seed=runs[SEED].astype(int)).sort_values(["tags.experiment", "seed"], ignore_index=True)


def _of_corpus(runs: pd.DataFrame, corpus: dict[str, Any]) -> pd.DataFrame:
    wanted = {f"tags.corpus.{part}.sha256": str(corpus[part]["sha256"]) for part in ("train", "official_test")}
    if runs.empty or not set(wanted) <= set(runs.columns):
        return runs.iloc[:0]
    return runs[_whole(runs) & (runs[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def _whole(runs: pd.DataFrame) -> pd.Series:
    """Which runs are finished, of an experiment, of all its nodes, and scored."""
    needed = ["tags.experiment", *(f"metrics.{name}" for name in SCORES)]
    if not set(needed) <= set(runs.columns):
        return pd.Series(False, index=runs.index)
    whole = runs["tags.partial"].isna() if "tags.partial" in runs else True
    return (runs["status"] == "FINISHED") & runs[needed].notna().all(axis=1) & whole


def _columns(runs: pd.DataFrame, *beginnings: str) -> list[str]:
    return [name for name in runs.columns if name.startswith(beginnings) and name not in INDIFFERENT]


def _like_the_latest(runs: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Those of the runs, oldest first, that have in `columns` what the latest run with a value there has."""
    latest = runs[columns].ffill().iloc[-1]
    different = runs[columns].notna() & (runs[columns] != latest)
    unlike = different.any(axis=1)
    for experiment, rows in different[unlike].groupby(runs["tags.experiment"]):
        names = ", ".join(name.removeprefix("params.") for name in columns if rows[name].any())
        log.warning("left out: %d earlier runs of %s, with other values of %s", len(rows), experiment, names)
    return runs[~unlike]
