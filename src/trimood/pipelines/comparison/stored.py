"""What the compared runs have stored: predictions, curves, what each modality is worth."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from trimood.emotions import EMOTIONS

Fetch = Callable[[str, str], Path | None]
"""From a run's id and an artifact's name to the file; None where the run has no such artifact."""

DROPS = ("macro_f1_drop", *(f"drop_{emotion}" for emotion in EMOTIONS))
"""Columns of a run's `modality_worth.csv`: the intact score minus the one without the modality."""


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


def gather_modality_worth(compared_runs: pd.DataFrame, mlflow_artifacts: Fetch) -> pd.DataFrame:
    """What test scores lose where a modality is blanked or shuffled, of the runs that measured it."""
    tables = [pd.DataFrame(columns=["system", "seed", "modality", "change", *DROPS])]
    for run_id, system, seed in _each(compared_runs):
        if path := mlflow_artifacts(run_id, "modality_worth.csv"):
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
