"""Which MLflow runs there are, which of them are compared, and what they have stored."""

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.emotions import EMOTIONS

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


Fetch = Callable[[str, str], Path | None]
"""From a run's id and an artifact's name to the file; None where the run has no such artifact."""

DROPS = ("macro_f1_drop", *(f"drop_{emotion}" for emotion in EMOTIONS))
"""Columns of a run's `modality_ablation.csv`: the intact score minus the one without the modality."""


class CannotCompare(Exception):
    """Runs that were not scored on the same utterances, or a baseline that is not among them."""


def gather_predictions(compared_runs: pd.DataFrame, mlflow_artifacts: Fetch) -> pd.DataFrame:
    """The stored predictions of all runs, one after the other, each in the order of its utterances.

    Raises CannotCompare where two runs were not scored on the same utterances with the same emotions.
    """
    tables = []
    for run_id, system, seed in _each(compared_runs):
        table = pd.read_parquet(_artifact(mlflow_artifacts, run_id, "predictions.parquet"))
        table = table.sort_values(["split", "conversation_id", "utterance_id"], ignore_index=True)
        table.insert(0, "system", system)
        table.insert(1, "seed", seed)
        tables.append(table)
        for split in ("validation", "test"):
            first, rows = (
                of.loc[of["split"] == split, ["utterance", "emotion"]].reset_index(drop=True)
                for of in (tables[0], table)
            )
            if not rows.equals(first):
                raise CannotCompare(
                    f"run {run_id} ({system}, seed {seed}) was scored on {len(rows)} {split} utterances, "
                    f"run {compared_runs['run_id'].iloc[0]} on {len(first)}, and they are not the same ones with the "
                    "same emotions. Name runs of one corpus, split and treatment of bad clips with compare.runs."
                )
    return pd.concat(tables, ignore_index=True)


def gather_curves(compared_runs: pd.DataFrame, mlflow_artifacts: Fetch) -> pd.DataFrame:
    """Macro F1 of each epoch in training and validation, of all runs; empty where an epoch's training score is lost."""
    rows = []
    for run_id, system, seed in _each(compared_runs):
        history = json.loads(_artifact(mlflow_artifacts, run_id, "history.json").read_text(encoding="utf-8"))
        for epoch in history["epochs"]:
            scores = {split: epoch.get(f"{split}/macro_f1") for split in ("train", "validation")}
            rows.append({"system": system, "seed": seed, "epoch": epoch["epoch"], **scores})
    return pd.DataFrame(rows).astype({"train": float, "validation": float})


def gather_modality_ablation(compared_runs: pd.DataFrame, mlflow_artifacts: Fetch) -> pd.DataFrame:
    """What test scores lose where a modality is blanked or shuffled, of the runs that measured it."""
    tables = [pd.DataFrame(columns=["system", "seed", "modality", "change", *DROPS])]
    for run_id, system, seed in _each(compared_runs):
        if path := mlflow_artifacts(run_id, "modality_ablation.csv"):
            table = pd.read_csv(path).query("split == 'test' and change != 'intact'")
            tables.append(table.assign(system=system, seed=seed)[list(tables[0].columns)])
    return pd.concat(tables[1:] or tables, ignore_index=True)


def _artifact(fetch: Fetch, run_id: str, name: str) -> Path:
    path = fetch(run_id, name)
    if path is None:
        raise CannotCompare(
            f"run {run_id} has no artifact {name}. Delete it in MLflow (make ui), or name others with compare.runs."
        )
    return path


def _each(compared_runs: pd.DataFrame) -> Iterator[tuple[str, str, int]]:
    return compared_runs[["run_id", "system", "seed"]].itertuples(index=False, name=None)
