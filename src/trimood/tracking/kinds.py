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

    def metrics(self, numbers: dict[str, float]) -> None:
        """Logs the numbers."""
        import mlflow

        mlflow.log_metrics(numbers, run_id=self.run)

    def tags(self, values: dict[str, Any]) -> None:
        """Sets the tags."""
        import mlflow

        for key, value in values.items():
            mlflow.MlflowClient().set_tag(self.run, key, value)

    def file(self, folder: str | None = None) -> None:
        """Logs the file of the dataset."""
        import mlflow

        mlflow.log_artifact(str(self.path), folder, run_id=self.run)


def _log_plan(entry: Entry) -> None:
    import mlflow

    plan = entry.data if isinstance(entry.data, Plan) else entry.data.plan
    mlflow.log_params(flat_plan(plan), run_id=entry.run)
    entry.tags({"seed": plan.settings.training.seed})


def _log_with_numbers(numbers_of: Callable[[Any], dict[str, float]]) -> Callable[[Entry], None]:
    """Returns a function that logs the dataset's numbers and its file."""

    def log(entry: Entry) -> None:
        entry.metrics(numbers_of(entry.data))
        entry.file()

    return log


def _log_rows(entry: Entry) -> None:
    """Logs the table, its number of rows, and the number for each combination of values in the columns `by`."""
    name, by = entry.logged.name, list(entry.logged.by)
    kinds = entry.data.value_counts(by).to_dict() if by else {}
    entry.metrics({str(name): len(entry.data), **{f"{name}/{' '.join(kind)}": n for kind, n in kinds.items()}})
    entry.file()


def _log_model(entry: Entry) -> None:
    """Logs the model with its calibration, which is its last dataset to be saved."""
    import mlflow

    from trimood.serving.mlflow_model import log_model

    entry.metrics(numbers({"calibration": entry.data}))
    mlflow.start_run(entry.run)
    try:
        log_model(entry.weights, entry.path)
    finally:
        mlflow.end_run("RUNNING")


LOG: dict[str, Callable[[Entry], None]] = {
    "plan": _log_plan,
    "identity": lambda entry: entry.tags({"identity": entry.data.digest}),
    "scores": _log_with_numbers(flat_scores),
    "ablation": _log_with_numbers(flat_ablation),
    "metrics": _log_with_numbers(numbers),
    "tags": lambda entry: entry.tags(flatten({entry.logged.name: entry.data})),
    "fingerprint": lambda entry: entry.tags({str(entry.logged.name): examples_fingerprint(entry.data)}),
    "rows": _log_rows,
    "model": _log_model,
    "file": lambda entry: entry.file(entry.logged.name),
}
