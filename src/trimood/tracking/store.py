"""Selects the MLflow store, converts values to params, metrics and tags, and tracks training and trials."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.config.parameters import flatten
from trimood.config.plan import Plan
from trimood.scoring.metrics import Scores

SQLITE = "sqlite:///"


def tracking_uri(configured: str, project: Path) -> str:
    """Returns MLFLOW_TRACKING_URI if it is set, else the configured URI; SQLite paths start from the project root."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured
    return f"{SQLITE}{project / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def use_store(uri: str) -> None:
    """Selects MLflow's store, and restores the environment.

    MLflow writes the URI into MLFLOW_TRACKING_URI, and the next session in this process would take it for the user's
    choice.
    """
    import mlflow

    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = given


def use_experiment(configured: Mapping[str, str], project: Path) -> str:
    """Returns the id of the MLflow experiment configured in globals.yml, and creates it if it is missing.

    Artifacts go to the configured folder; a store from MLFLOW_TRACKING_URI uses its own.
    """
    import mlflow

    own = not os.environ.get("MLFLOW_TRACKING_URI")
    use_store(tracking_uri(configured["tracking_uri"], project))
    name = configured["experiment"]
    if mlflow.get_experiment_by_name(name) is None:
        mlflow.create_experiment(name, (project / configured["artifacts"]).as_uri() if own else None)
    return str(mlflow.set_experiment(name).experiment_id)


class TrackedTrial:
    """Logs a trial of a search to its MLflow run; does nothing without a run."""

    def __init__(self, run: str | None) -> None:
        self.run = run

    def log_plan(self, plan: Plan) -> None:
        """Logs the trial's settings as params."""
        if self.run:
            import mlflow

            mlflow.log_params(flat_plan(plan))
            mlflow.set_tag("seed", plan.settings.training.seed)

    def log_live(self, numbers: Mapping[str, float], step: int) -> None:
        """Logs numbers during training."""
        log_live(numbers, step)

    def log_pruned(self) -> None:
        """Tags the run as stopped by the pruner."""
        if self.run:
            import mlflow

            mlflow.set_tag("pruned", "true")

    def log_outcome(self, numbers: Mapping[str, float]) -> None:
        """Logs the final scores and cost."""
        if self.run:
            import mlflow

            mlflow.log_metrics(dict(numbers))


class SearchTracker:
    """Opens an MLflow run for each trial of a search; tracks nothing if no run is active."""

    @contextmanager
    def trial(self, name: str, tags: Mapping[str, Any]) -> Iterator[TrackedTrial]:
        """Opens a run with the tags and data params of the active run; closes it with the status of the block."""
        import mlflow

        outer = mlflow.active_run()
        if outer is None:
            yield TrackedTrial(None)
            return
        client = mlflow.MlflowClient()
        shared = client.get_run(outer.info.run_id).data
        inherited = {k: v for k, v in shared.tags.items() if not k.startswith(("mlflow.", "report", "experiment"))}
        words = {key: str(value) for key, value in {**inherited, **tags}.items()}
        run = client.create_run(outer.info.experiment_id, run_name=name, tags=words).info.run_id
        data = {name: value for name, value in shared.params.items() if name.startswith("data.")}
        mlflow.log_params(data, run_id=run)
        status = "KILLED"
        mlflow.start_run(run, nested=True)  # an existing run gets no parent by this
        try:
            yield TrackedTrial(str(run))
            status = "FINISHED"
        except Exception:
            status = "FAILED"
            raise
        finally:
            mlflow.end_run(status)

    def end_interrupted(self, run: str) -> None:
        """Closes the run of a trial whose process died."""
        import mlflow

        if mlflow.active_run():
            mlflow.MlflowClient().set_terminated(run, "KILLED")


def log_live(numbers: Mapping[str, float], step: int) -> None:
    """Logs numbers during training to the active run; does nothing without one (as in a test)."""
    import mlflow

    if mlflow.active_run():
        # Other names than the final scores: MLflow shows the highest step of a name, not the best epoch.
        curves = {
            name: f"curves/{name.replace('/', '_')}" for name in numbers if name.startswith(("train/", "validation/"))
        }
        mlflow.log_metrics({curves.get(name, name): value for name, value in numbers.items()}, step=step)


def examples_fingerprint(examples: pd.DataFrame) -> str:
    """Returns 12 hexadecimal digits of the utterances, their text and labels, and their order."""
    content = examples[["utterance", "text", "label"]].to_csv(index=False)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def flat_plan(plan: Plan) -> dict[str, Any]:
    """Returns a plan as params: resolved settings, parameter counts, checkpoints."""
    whole = plan.model_dump(mode="json")
    return flatten({**whole["settings"], "parameters": whole["parameters"], "checkpoint": whole["checkpoints"]})


def numbers(value: Any) -> dict[str, float]:
    """Flattens the numbers in nested values to {"clips/missing": 3.0}; omits strings, lists and booleans."""
    flat = {key.replace(".", "/"): item for key, item in flatten(value).items()}
    return {key: float(v) for key, v in flat.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def flat_scores(scores: Scores) -> dict[str, float]:
    """Flattens scores to {"test/macro_f1": …, "test f1/joy": …}."""
    flat: dict[str, float] = {}
    for split, of_split in scores.items():
        flat |= {f"{split}/{k}": v for k, v in of_split.items() if isinstance(v, int | float)}
        for emotion, row in of_split["per_class"].items():
            measures = {"precision": row["precision"], "recall": row["recall"], "f1": row["f1"]}
            flat |= {f"{split} {measure}/{emotion}": value for measure, value in measures.items()}
    return flat


def flat_ablation(ablation: Any) -> dict[str, float]:
    """Returns the drops of macro F1 in a modality ablation, as {"test ablation/video blanked": …}."""
    rows = ablation[ablation["change"] != "intact"].itertuples()
    return {f"{row.split} ablation/{row.modality} {row.change}": float(row.macro_f1_drop) for row in rows}
