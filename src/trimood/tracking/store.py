"""Which MLflow store is used, how values and tables become its params, metrics and tags, and runs within a node."""

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
    """MLFLOW_TRACKING_URI where it is set, else the configured one, a relative SQLite file under the project's root."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured
    return f"{SQLITE}{project / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


def use_store(uri: str) -> None:
    """Points MLflow at a store and leaves the environment as it was.

    MLflow writes the address into MLFLOW_TRACKING_URI, where the next session of this process would take it for the
    user's own choice.
    """
    import mlflow

    given = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    if given is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = given


def use_experiment(configured: Mapping[str, str], project: Path) -> str:
    """The id of the MLflow experiment that globals.yml names under `mlflow`, made in its store where it is not there.

    Artifacts go to the configured folder, unless the environment names another store, which has its own place.
    """
    import mlflow

    own = not os.environ.get("MLFLOW_TRACKING_URI")
    use_store(tracking_uri(configured["tracking_uri"], project))
    name = configured["experiment"]
    if mlflow.get_experiment_by_name(name) is None:
        mlflow.create_experiment(name, (project / configured["artifacts"]).as_uri() if own else None)
    return str(mlflow.set_experiment(name).experiment_id)


class TrackedTrial:
    """What a trial of a search tells its MLflow run; nothing is tracked where there is none."""

    def __init__(self, run: str | None) -> None:
        self.run = run

    def log_plan(self, plan: Plan) -> None:
        """The trial's settings as params."""
        if self.run:
            import mlflow

            mlflow.log_params(flat_plan(plan))
            mlflow.set_tag("seed", plan.settings.training.seed)

    def log_live(self, numbers: Mapping[str, float], step: int) -> None:
        """Numbers of the training while it lasts."""
        log_live(numbers, step)

    def log_pruned(self) -> None:
        """The pruner has stopped the trial."""
        if self.run:
            import mlflow

            mlflow.set_tag("pruned", "true")

    def log_outcome(self, numbers: Mapping[str, float]) -> None:
        """The figures that the trial ends with."""
        if self.run:
            import mlflow

            mlflow.log_metrics(dict(numbers))


class SearchTracker:
    """Gives each trial of a search a flat MLflow run beside the active one; tracks nothing where none is active."""

    @contextmanager
    def trial(self, name: str, tags: Mapping[str, Any]) -> Iterator[TrackedTrial]:
        """A run that shares the active run's environment and data, and ends as the block does.

        It is finished, failed or killed as the block was.
        """
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
        mlflow.start_run(run, nested=True)  # of a run that is there already, which gets no parent by it
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
    """Numbers of a training in the run that is open on this thread; nothing where nobody tracks (as in a test)."""
    import mlflow

    if mlflow.active_run():
        # Not the final scores' names: of one name MLflow shows the highest step, the last epoch instead of the best.
        curves = {
            name: f"curves/{name.replace('/', '_')}" for name in numbers if name.startswith(("train/", "validation/"))
        }
        mlflow.log_metrics({curves.get(name, name): value for name, value in numbers.items()}, step=step)


def examples_fingerprint(examples: pd.DataFrame) -> str:
    """12 hexadecimal digits that change with any utterance of the table, its words, its label, and their order."""
    content = examples[["utterance", "text", "label"]].to_csv(index=False)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def flat_plan(plan: Plan) -> dict[str, Any]:
    """An experiment's plan as params: resolved settings, parameter counts, checkpoints."""
    whole = plan.model_dump(mode="json")
    return flatten({**whole["settings"], "parameters": whole["parameters"], "checkpoint": whole["checkpoints"]})


def numbers(value: Any) -> dict[str, float]:
    """The numbers among nested values as {"clips/missing": 3.0}; words, lists and truth values are left out."""
    flat = {key.replace(".", "/"): item for key, item in flatten(value).items()}
    return {key: float(v) for key, v in flat.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def flat_scores(scores: Scores) -> dict[str, float]:
    """{"test": {"macro_f1": …, "per_class": {"joy": {"f1": …}}}} as {"test/macro_f1": …, "test f1/joy": …}."""
    flat: dict[str, float] = {}
    for split, of_split in scores.items():
        flat |= {f"{split}/{k}": v for k, v in of_split.items() if isinstance(v, int | float)}
        for emotion, row in of_split["per_class"].items():
            measures = {"precision": row["precision"], "recall": row["recall"], "f1": row["f1"]}
            flat |= {f"{split} {measure}/{emotion}": value for measure, value in measures.items()}
    return flat


def flat_ablation(ablation: Any) -> dict[str, float]:
    """A modality ablation as {"test ablation/video blanked": …}: what macro F1 loses without the modality."""
    rows = ablation[ablation["change"] != "intact"].itertuples()
    return {f"{row.split} ablation/{row.modality} {row.change}": float(row.macro_f1_drop) for row in rows}
