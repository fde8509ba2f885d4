"""One MLflow run for each experiment or report of a `kedro run`; logs the datasets with `metadata.mlflow`."""

import atexit
import logging
import platform
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from trimood.config.experiments import experiment_names, experiment_of
from trimood.config.metadata import Logged, metadata_of
from trimood.config.parameters import flatten
from trimood.tracking.kinds import LOG, Entry
from trimood.tracking.store import use_experiment

log = logging.getLogger(__name__)

SEEN = "trimood.tracking.hook.seen"
"""Key in a command's `click.Context.meta` for datasets of the shared stages, which all its sessions log."""


class TrackRuns:
    """Opens a run at the first node of an experiment, logs its datasets, and closes the run with its status."""

    def __init__(self, reports: Iterable[str] = ()) -> None:
        """`reports`: the stages that get their own run, as experiments do."""
        self._reports = tuple(reports)
        self._lock = threading.Lock()
        self._runs: dict[str, str] = {}
        self._unsaved: dict[str, set[str]] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remembers the store and the project's folder; MLflow is not imported before a run begins."""
        self._conf = context.config_loader["globals"]["mlflow"]
        self._project = Path(context.project_path)
        self._env = context.env or context.config_loader.default_run_env

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Selects the MLflow store if a node belongs to a tracked run. Raises UsageError for ParallelRunner."""
        self._close("KILLED")  # runs left open by an interrupted session in this process, as in a notebook
        self._catalog, self._session = catalog, str(run_params.get("run_id"))
        self._names = [*experiment_names(), *self._reports]
        self._nodes: dict[str, set[str]] = {}
        self._unsaved = {}
        # A command with several seeds has a session for each; only the first runs the shared stages.
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
                "Use the default runner, which also prepares clips on all cores (data.clips.workers)."
            )
        self._experiment_id = use_experiment(self._conf, self._project)
        # Registered after MLflow's import, so that it runs before MLflow's handler, which marks runs as finished.
        atexit.register(self._close, "KILLED")
        _end_in_order_when_terminated()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """Logs parameters and examples of a partial run, which loads them instead of saving them."""
        logged = self._logged(dataset_name)
        if logged and logged.log in ("plan", "identity", "tags", "fingerprint"):
            self._feed(dataset_name, data, node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Makes the node's run the active run of its thread, so that a training can log its curves."""
        if run := self._run_of(node):
            import mlflow

            mlflow.start_run(run)

    @hook_impl
    def after_node_run(self, node: Node) -> None:
        """Deactivates the run but leaves it open for other nodes, which may run in other threads."""
        self._deactivate(node)

    @hook_impl
    def on_node_error(self, node: Node) -> None:
        """Deactivates the run, as after a successful node."""
        self._deactivate(node)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Logs the dataset; an experiment is finished when its last output is saved."""
        self._feed(dataset_name, data, node)
        if name := experiment_of(node.namespace, self._names):
            self._unsaved[name].discard(dataset_name)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Closes every run."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Closes every run, as finished if all its outputs are saved, else as failed."""
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
            "report" if name in self._reports else "experiment": name,
            "env": self._env,
            "git_commit": _commit(self._project) or "not a git checkout",
            "session": self._session,
            "python": platform.python_version(),
            **{library: version(library) for library in ("trimood", "torch", "transformers", "peft")},
        }

    def _logged(self, dataset_name: str) -> Logged | None:
        return metadata_of(self._catalog.get(dataset_name)).mlflow

    def _feed(self, dataset_name: str, data: Any, node: Node) -> None:
        if not self._nodes or not self._logged(dataset_name):
            return
        if run := self._run_of(node):
            self._log(dataset_name, data, run)
        else:  # of a shared stage: logged to every run when it is closed, as some are not open yet
            self._shared[dataset_name] = data

    def _log(self, dataset_name: str, data: Any, run: str) -> None:
        if logged := self._logged(dataset_name):
            weights = f"{dataset_name.rpartition('.')[0]}.{logged.weights}"  # of the same namespace
            LOG[logged.log](Entry(run, data, self._file_of(dataset_name), logged, self._file_of(weights)))

    def _file_of(self, dataset_name: str) -> Path:
        return Path(getattr(self._catalog.get(dataset_name), "_filepath", ""))

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
        if active and active.info.run_id in runs.values():  # interrupted within a node
            mlflow.end_run(unfinished)
        client = mlflow.MlflowClient()
        for name, run in runs.items():
            for dataset_name, data in self._shared.items():
                self._log(dataset_name, data, run)
            if self._unsaved[name]:
                client.set_tag(run, "partial", "true")
            client.set_terminated(run, unfinished if self._unsaved[name] else "FINISHED")
        log.info("runs of %s are in MLflow at %s; view them with: make ui", ", ".join(runs), mlflow.get_tracking_uri())


def _commit(project: Path) -> str:
    """Returns the current commit, with `-dirty` if files have changed; empty without git."""
    git = shutil.which("git")
    if not git:
        return ""

    def output_of(*arguments: str) -> str:
        return subprocess.run([git, *arguments], cwd=project, capture_output=True, text=True).stdout.strip()  # noqa: PLW1510, S603

    commit = output_of("rev-parse", "--short=12", "HEAD")
    return f"{commit}-dirty" if commit and output_of("status", "--porcelain") else commit


def _end_in_order_when_terminated() -> None:
    """Makes SIGTERM, as sent by schedulers, run the exit handlers, so that open runs are closed as killed."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
