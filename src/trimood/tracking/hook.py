"""One MLflow run for each experiment or report of a `kedro run`; the catalog's `metadata.mlflow` says what goes in."""

import atexit
import logging
import platform
import shutil
import signal
import subprocess
import sys
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from trimood.config.experiments import REPORTS, experiment_names, experiment_of
from trimood.config.parameters import flatten
from trimood.tracking.store import examples_fingerprint, flat_ablation, flat_plan, flat_scores, numbers, use_experiment

log = logging.getLogger(__name__)

SEEN = "trimood.tracking.hook.seen"
"""Where a command's `click.Context.meta` keeps what its shared stages have made, for all of its sessions."""


class TrackRuns:
    """Opens a run at an experiment's first node, feeds it from the catalog, and closes it by what became of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, str] = {}
        self._unsaved: dict[str, set[str]] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remembers where runs are kept and where the project lies; nothing is touched until a run begins."""
        self._conf = context.config_loader["globals"]["mlflow"]
        self._project = Path(context.project_path)
        self._env = context.env or context.config_loader.default_run_env

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Points MLflow at the store where there is an experiment among the nodes; refuses ParallelRunner."""
        self._close("KILLED")  # left open by a session that was stopped in this process, as in a notebook
        self._catalog, self._session = catalog, str(run_params.get("run_id"))
        self._names = [*experiment_names(), *REPORTS]
        self._nodes: dict[str, set[str]] = {}
        self._unsaved = {}
        # Several seeds are as many sessions of one command, of which the first runs the shared stages.
        command = click.get_current_context(silent=True)
        self._shared: dict[str, Any] = command.meta.setdefault(SEEN, {}) if command else {}
        for node in pipeline.nodes:
            if name := experiment_of(node.namespace, self._names):
                self._nodes.setdefault(name, set()).add(node.name)
                self._unsaved.setdefault(name, set()).update(node.outputs)
        if not self._nodes:
            return
        if "Parallel" in str(run_params.get("runner")):
            raise click.UsageError(
                "--runner=ParallelRunner runs no hooks in its workers, so nothing would be tracked. "
                "Use the default runner: clips are prepared on all cores anyway (data.clips.workers)."
            )
        self._experiment_id = use_experiment(self._conf, self._project)
        # After MLflow's import, so that this comes before MLflow's own, which would call a stopped run finished.
        atexit.register(self._close, "KILLED")
        _end_in_order_when_terminated()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """What is read, not made, still says what a partial run's parameters and examples are."""
        if self._spec(dataset_name).get("log") in ("plan", "tags", "fingerprint"):
            self._feed(dataset_name, data, node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Makes the node's run the active one of its thread, so that a training can log its curves while it lasts."""
        if run := self._run_of(node):
            import mlflow

            mlflow.start_run(run)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Leaves the run open: other nodes, perhaps of other threads, go on with it."""
        self._deactivate(node)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """As after a node that succeeds."""
        self._deactivate(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Logs what the catalog's entry asks for; an experiment is done when its last output is saved."""
        self._feed(dataset_name, data, node)
        if name := experiment_of(node.namespace, self._names):
            self._unsaved[name].discard(dataset_name)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Closes every run."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Closes every run: those that had saved everything as finished, the others as failed."""
        self._close("FAILED")

    def _run_of(self, node: Node) -> str | None:
        name = experiment_of(node.namespace, self._names)
        if name is None:
            return None
        with self._lock:
            if name not in self._runs:
                self._runs[name] = self._open(name)
            return self._runs[name]

    def _open(self, name: str) -> str:
        import mlflow
        from kedro.framework.project import pipelines

        tags = self._tags(name)
        whole = {node.name for node in pipelines[name].nodes if experiment_of(node.namespace, self._names) == name}
        if whole - self._nodes[name]:
            tags["partial"] = "true"
        run = mlflow.MlflowClient().create_run(self._experiment_id, run_name=name, tags=tags)
        mlflow.log_params(flatten({"data": self._catalog.load("parameters")["data"]}), run_id=run.info.run_id)
        return str(run.info.run_id)

    def _tags(self, name: str) -> dict[str, str]:
        return {
            "report" if name in REPORTS else "experiment": name,
            "env": self._env,
            "git_commit": _commit(self._project) or "not a git checkout",
            "session": self._session,
            "python": platform.python_version(),
            **{library: version(library) for library in ("trimood", "torch", "transformers", "peft")},
        }

    def _spec(self, dataset_name: str) -> dict[str, Any]:
        metadata = getattr(self._catalog.get(dataset_name), "metadata", None) or {}
        spec: dict[str, Any] = metadata.get("mlflow") or {}
        return spec

    def _feed(self, dataset_name: str, data: Any, node: Node) -> None:
        if not self._nodes or not self._spec(dataset_name):
            return
        if run := self._run_of(node):
            self._log(dataset_name, data, run)
        else:  # of the stages that all experiments share, some of whose runs are not open yet
            self._shared[dataset_name] = data

    def _log(self, dataset_name: str, data: Any, run: str) -> None:
        import mlflow

        spec = self._spec(dataset_name)
        if spec["log"] == "plan":
            mlflow.log_params(flat_plan(data), run_id=run)
            mlflow.MlflowClient().set_tag(run, "seed", data.settings.training.seed)
        elif spec["log"] == "scores":
            mlflow.log_metrics(flat_scores(data), run_id=run)
            mlflow.log_dict(data, "scores.json", run_id=run)
        elif spec["log"] == "ablation":
            mlflow.log_metrics(flat_ablation(data), run_id=run)
        elif spec["log"] == "metrics":
            mlflow.log_metrics(numbers(data), run_id=run)
        elif spec["log"] == "tags":
            client = mlflow.MlflowClient()
            for key, value in flatten({spec["as"]: data}).items():
                client.set_tag(run, key, value)
        elif spec["log"] == "fingerprint":
            mlflow.MlflowClient().set_tag(run, spec["as"], examples_fingerprint(data))
        elif spec["log"] == "rows":
            kinds = data.value_counts(spec["by"]).to_dict() if "by" in spec else {}
            counts = {f"{spec['as']}/{' '.join(kind)}": count for kind, count in kinds.items()}
            mlflow.log_metrics({spec["as"]: len(data), **counts}, run_id=run)
        elif spec["log"] == "model":
            self._log_model(dataset_name, data, run)
        if spec["log"] in ("file", "rows", "ablation", "metrics"):
            folder = spec.get("as") if spec["log"] == "file" else None
            mlflow.log_artifact(str(self._catalog[dataset_name]._filepath), folder, run_id=run)

    def _log_model(self, dataset_name: str, calibration: Any, run: str) -> None:
        """The calibration comes last of what makes up a model: with it, its weights are logged too, once."""
        import mlflow

        from trimood.serving.mlflow_model import log_model

        mlflow.log_metrics(numbers({"calibration": calibration}), run_id=run)
        weights = f"{dataset_name.rpartition('.')[0]}.{self._spec(dataset_name)['weights']}"
        mlflow.start_run(run)
        try:
            log_model(self._catalog[weights]._filepath, self._catalog[dataset_name]._filepath)
        finally:
            mlflow.end_run("RUNNING")

    def _deactivate(self, node: Node) -> None:
        if experiment_of(node.namespace, self._names):
            import mlflow

            mlflow.end_run("RUNNING")

    def _close(self, unfinished: str) -> None:
        if not self._runs:
            return
        import mlflow

        runs, self._runs = self._runs, {}
        active = mlflow.active_run()
        if active and active.info.run_id in runs.values():  # stopped within a node
            mlflow.end_run(unfinished)
        client = mlflow.MlflowClient()
        for name, run in runs.items():
            for dataset_name, data in self._shared.items():
                self._log(dataset_name, data, run)
            if self._unsaved[name]:
                client.set_tag(run, "partial", "true")
            client.set_terminated(run, unfinished if self._unsaved[name] else "FINISHED")
        log.info(
            "MLflow keeps %s in %s: make ui shows and compares the runs", ", ".join(runs), mlflow.get_tracking_uri()
        )


def _commit(project: Path) -> str:
    """The commit that is checked out, with `-dirty` where files differ from it; empty where there is no git."""
    git = shutil.which("git")
    if not git:
        return ""

    def says(*arguments: str) -> str:
        return subprocess.run([git, *arguments], cwd=project, capture_output=True, text=True).stdout.strip()  # noqa: PLW1510, S603

    commit = says("rev-parse", "--short=12", "HEAD")
    return f"{commit}-dirty" if commit and says("status", "--porcelain") else commit


def _end_in_order_when_terminated() -> None:
    """A scheduler's SIGTERM ends the process by way of its exit handlers, so that open runs are closed as killed."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
