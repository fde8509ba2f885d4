"""Logs a dataset to MLflow: a function for each kind in the catalog's `metadata.mlflow`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimood.config.metadata import Logged
from trimood.config.parameters import flatten
from trimood.config.plan import Plan
from trimood.tracking.store import examples_fingerprint, flat_ablation, flat_plan, flat_scores, numbers


@dataclass(frozen=True)
class Entry:
    """A dataset to log: run id, value, file and metadata of the dataset, and for a model the file of its weights."""

    run: str
    data: Any
    path: Path
    logged: Logged
    weights: Path


def _log_plan(entry: Entry) -> None:
    import mlflow

    plan = entry.data if isinstance(entry.data, Plan) else entry.data.plan
    mlflow.log_params(flat_plan(plan), run_id=entry.run)
    mlflow.MlflowClient().set_tag(entry.run, "seed", plan.settings.training.seed)


def _log_identity(entry: Entry) -> None:
    import mlflow

    mlflow.MlflowClient().set_tag(entry.run, "identity", entry.data.digest)


def _log_scores(entry: Entry) -> None:
    import mlflow

    mlflow.log_metrics(flat_scores(entry.data), run_id=entry.run)
    mlflow.log_dict(entry.data, "scores.json", run_id=entry.run)


def _log_ablation(entry: Entry) -> None:
    import mlflow

    mlflow.log_metrics(flat_ablation(entry.data), run_id=entry.run)
    _log_artifact(entry)


def _log_metrics(entry: Entry) -> None:
    import mlflow

    mlflow.log_metrics(numbers(entry.data), run_id=entry.run)
    _log_artifact(entry)


def _log_tags(entry: Entry) -> None:
    import mlflow

    client = mlflow.MlflowClient()
    for key, value in flatten({entry.logged.name: entry.data}).items():
        client.set_tag(entry.run, key, value)


def _log_fingerprint(entry: Entry) -> None:
    import mlflow

    mlflow.MlflowClient().set_tag(entry.run, entry.logged.name, examples_fingerprint(entry.data))


def _log_rows(entry: Entry) -> None:
    """Logs the table, its number of rows, and the number for each combination of values in the columns `by`."""
    import mlflow

    name, by = entry.logged.name, list(entry.logged.by)
    kinds = entry.data.value_counts(by).to_dict() if by else {}
    counts = {f"{name}/{' '.join(kind)}": count for kind, count in kinds.items()}
    mlflow.log_metrics({str(name): len(entry.data), **counts}, run_id=entry.run)
    _log_artifact(entry)


def _log_model(entry: Entry) -> None:
    """Logs the model with its calibration, which is its last dataset to be saved."""
    import mlflow

    from trimood.serving.mlflow_model import log_model

    mlflow.log_metrics(numbers({"calibration": entry.data}), run_id=entry.run)
    mlflow.start_run(entry.run)
    try:
        log_model(entry.weights, entry.path)
    finally:
        mlflow.end_run("RUNNING")


def _log_file(entry: Entry) -> None:
    _log_artifact(entry, entry.logged.name)


def _log_artifact(entry: Entry, folder: str | None = None) -> None:
    import mlflow

    mlflow.log_artifact(str(entry.path), folder, run_id=entry.run)


LOG: dict[str, Callable[[Entry], None]] = {
    "plan": _log_plan,
    "identity": _log_identity,
    "scores": _log_scores,
    "ablation": _log_ablation,
    "metrics": _log_metrics,
    "tags": _log_tags,
    "fingerprint": _log_fingerprint,
    "rows": _log_rows,
    "model": _log_model,
    "file": _log_file,
}
