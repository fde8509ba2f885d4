"""One MLflow run for each experiment of a `kedro run`; the catalog's `metadata.mlflow` says what goes into it."""

import logging
import os
import platform
import subprocess
import threading
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from trimood.experiments import experiment_names

log = logging.getLogger(__name__)

SQLITE = "sqlite:///"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {"training.learning_rate": 5e-05}; a list becomes its items joined by '+'."""
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: "+".join(map(str, value)) if isinstance(value, list | tuple) else value}


def tracking_uri(configured: str, project: Path) -> str:
    """MLFLOW_TRACKING_URI where it is set, else the configured one, a relative SQLite file under the project's root."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or configured
    return f"{SQLITE}{project / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri


class TrackRuns:
    """Opens a run before an experiment's first node, feeds it from the catalog, and closes it as finished or failed."""

    def __init__(self) -> None:
        self._active = threading.local()
        self._runs: dict[str, str] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remembers conf/*/mlflow.yml and where the project lies; nothing is touched until a run begins."""
        self.conf = context.config_loader["mlflow"]
        self.project = Path(context.project_path)

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """One run for each experiment among the nodes."""
        self._runs, self._catalog = {}, catalog
        self._left = Counter(e for node in pipeline.nodes if (e := _experiment(node)))
        if not self._left:
            return
        if "Parallel" in str(run_params.get("runner")):
            raise ValueError(
                "--runner=ParallelRunner runs no hooks in its workers, so nothing would be tracked. "
                "Use the default runner: clips are prepared on all cores anyway (data.clips.workers)."
            )
        import mlflow

        mlflow.set_tracking_uri(tracking_uri(self.conf["tracking_uri"], self.project))
        experiment_id = self._mlflow_experiment()
        shared = flatten({"data": catalog.load("parameters")["data"]})
        for name, nodes in self._left.items():
            tags = self._tags(run_params, name)
            if nodes < sum(1 for node in _whole(name).nodes if _experiment(node) == name):
                tags["partial"] = "true"
            run = mlflow.MlflowClient().create_run(experiment_id, run_name=name, tags=tags)
            self._runs[name] = run.info.run_id
            for key, value in shared.items():
                mlflow.MlflowClient().log_param(run.info.run_id, key, value)

    def _mlflow_experiment(self) -> str:
        import mlflow

        name = self.conf["experiment"]
        if mlflow.get_experiment_by_name(name) is None:
            local = not os.environ.get("MLFLOW_TRACKING_URI")
            mlflow.create_experiment(name, (self.project / self.conf["artifacts"]).as_uri() if local else None)
        return str(mlflow.set_experiment(name).experiment_id)

    def _tags(self, run_params: dict[str, Any], name: str) -> dict[str, str]:
        git = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        commit = subprocess.run(git, cwd=self.project, capture_output=True, text=True, check=False).stdout.strip()  # noqa: S603
        return {
            "experiment": name,
            "env": str(run_params["env"] or "demo"),
            "git_commit": commit or "not a git checkout",
            "session": str(run_params.get("session_id") or run_params.get("run_id")),
            "python": platform.python_version(),
            **{library: version(library) for library in ("trimood", "torch", "transformers", "peft")},
        }

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Makes the node's run the active one of this thread; outputs are saved after the node, so it stays open."""
        wanted, active = self._runs.get(_experiment(node)), getattr(self._active, "run", None)
        if wanted != active:
            self._suspend()
            if wanted:
                import mlflow

                mlflow.start_run(wanted)
                self._active.run = wanted

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any) -> None:
        """A plan that is read, not made, still says what a partial run's parameters are."""
        if self._spec(dataset_name).get("log") == "plan":
            self._log_plan(data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any) -> None:
        """Logs what the catalog's entry asks for."""
        kind = self._spec(dataset_name)
        if not getattr(self._active, "run", None) or not kind:
            return
        import mlflow

        if kind["log"] == "plan":
            self._log_plan(data)
        elif kind["log"] == "scores":
            mlflow.log_metrics(_flat_scores(data))
            mlflow.log_dict(data, "scores.json")
        elif kind["log"] == "file":
            mlflow.log_artifact(str(self._catalog[dataset_name]._filepath), kind.get("as"))

    def _spec(self, dataset_name: str) -> dict[str, Any]:
        dataset = self._catalog.get(dataset_name) if self._runs else None
        spec: dict[str, Any] = (getattr(dataset, "metadata", None) or {}).get("mlflow") or {}
        return spec

    def _log_plan(self, plan: dict[str, Any]) -> None:
        import mlflow

        mlflow.log_params(
            flatten({**plan["settings"], "parameters": plan["parameters"], "checkpoint": plan["checkpoints"]})
        )

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Counts down, so that an error later in the session does not mark this experiment as failed."""
        if _experiment(node):
            self._left[_experiment(node)] -= 1

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Closes every run."""
        self._close()

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Closes every run: those that had all their nodes done as finished, the others as failed."""
        self._close()

    def _close(self) -> None:
        if not self._runs:
            return
        import mlflow

        self._suspend()
        client = mlflow.MlflowClient()
        corpus = self._catalog.load("corpus_description") if self._catalog.exists("corpus_description") else {}
        for name, run in self._runs.items():
            for key, value in flatten({"corpus": corpus}).items():
                client.set_tag(run, key, value)
            client.set_terminated(run, "FAILED" if self._left[name] else "FINISHED")
        log.info(
            "MLflow keeps %s in %s: make ui shows and compares the runs",
            ", ".join(self._runs),
            mlflow.get_tracking_uri(),
        )
        self._runs = {}

    def _suspend(self) -> None:
        """Leaves the active run open on the server: another node may go on with it."""
        if getattr(self._active, "run", None):
            import mlflow

            mlflow.end_run("RUNNING")
            self._active.run = None


def _experiment(node: Node) -> str:
    """The experiment a node belongs to: the first part of its namespace, where that is an experiment; else empty."""
    first = (node.namespace or "").split(".")[0]
    return first if first in experiment_names() else ""


def _whole(name: str) -> Pipeline:
    from kedro.framework.project import pipelines

    return pipelines[name]


def _flat_scores(scores: dict[str, Any]) -> dict[str, float]:
    """{"test": {"macro_f1": …, "per_class": {"joy": {"f1": …}}}} as {"test/macro_f1": …, "test/f1/joy": …}."""
    flat: dict[str, float] = {}
    for split, of_split in scores.items():
        flat |= {f"{split}/{k}": v for k, v in of_split.items() if isinstance(v, int | float)}
        for emotion, row in of_split["per_class"].items():
            flat |= {f"{split} {measure}/{emotion}": v for measure, v in row.items() if measure != "support"}
    return flat
