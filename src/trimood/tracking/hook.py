"""One MLflow run for each experiment or report of a `kedro run`; logs the datasets with `metadata.mlflow`."""

import atexit
import logging
import platform
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from trimood.config.checks import without_passwords
from trimood.config.experiment_settings import ExperimentParams, TrainingParams
from trimood.config.experiments import experiment_names, experiment_of
from trimood.config.metadata import Logged, metadata_of
from trimood.config.parameters import flatten
from trimood.tracking.live import set_current_run
from trimood.tracking.outbox import Outbox, TrackedRun
from trimood.tracking.records import Status
from trimood.tracking.results import Ending, Result, ending_of_command
from trimood.tracking.store import SQLITE, tracking_uri, use_experiments, use_store
from trimood.tracking.view import COLOUR, Group, colour_of, link

log = logging.getLogger(__name__)

SEEN = "trimood.tracking.hook.seen"
"""Key in a command's `click.Context.meta` for datasets of the shared stages, which all its sessions log."""

CHECKS = "checks"
"""Tag of the nodes that run before a run is opened: what is refused there leaves no run."""

REPORT = "comparison_page"
"""The dataset that is the report on all runs."""

UNSENT = "unsent"
"""The dataset that names the folder for what MLflow could not take."""


class TrackRuns:
    """Opens a run at the first node of an experiment after the checks, logs its datasets, and closes it when done."""

    def __init__(self, stages: Mapping[str, Group] | None = None) -> None:
        """`stages`: those that get their own run, as experiments do, and in which MLflow experiment."""
        self._stages = dict(stages or {})
        self._lock = threading.RLock()
        self._runs: dict[str, TrackedRun] = {}
        self._outbox: Outbox | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remembers the store and the project's folder; MLflow is not imported before a run begins."""
        self._conf = context.config_loader["globals"]["mlflow"]
        self._project = Path(context.project_path)
        self._env = context.env or context.config_loader.default_run_env

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Prepares the outbox if a node belongs to a tracked run. Raises UsageError for ParallelRunner."""
        self._close("KILLED")  # runs left open by an interrupted session in this process, as in a notebook
        self._catalog, self._session = catalog, str(run_params.get("run_id"))
        self._names = [*experiment_names(), *self._stages]
        self._nodes: dict[str, set[str]] = {}
        self._unsaved: dict[str, set[str]] = {}
        self._finished: list[str] = []
        self._held: dict[str, dict[str, Any]] = {}
        self._seen: set[tuple[str | None, str]] = set()
        self._results: dict[str, Result] = {}
        self._ending = ending_of_command()  # here, as worker threads are in no command
        # A command with several seeds has a session for each; only the first runs the shared stages.
        command = click.get_current_context(silent=True)
        self._shared: dict[str, Any] = command.meta.setdefault(SEEN, {}) if command else {}
        shared = set()
        for node in pipeline.nodes:
            if name := experiment_of(node.namespace, self._names):
                self._nodes.setdefault(name, set()).add(node.name)
                self._unsaved.setdefault(name, set()).update(node.outputs)
            else:
                shared |= {output for output in node.outputs if self._logged(output)}
        if not self._nodes:
            return
        if "Parallel" in str(run_params.get("runner")):
            raise click.UsageError(
                "--runner=ParallelRunner runs no hooks in its workers, so nothing would be tracked. "
                "Use the default runner, which also prepares clips on all cores (data.clips.workers)."
            )
        self._unsaved = {name: unsaved | shared for name, unsaved in self._unsaved.items()}
        uri = tracking_uri(self._conf["tracking_uri"], self._project)
        use_store(uri)
        is_own = uri.startswith(f"{SQLITE}{self._project}/")
        self._outbox = Outbox(
            self._file_of(UNSENT),
            lambda: use_experiments(self._conf, self._project),
            uri,
            None if is_own else str(self._project),
        )
        self._outbox.begin()
        atexit.register(self._close, "KILLED")
        _end_in_order_when_terminated()

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """Logs parameters and examples of a partial run, which loads them instead of saving them."""
        logged = self._logged(dataset_name)
        if logged and logged.log in ("plan", "identity", "tags", "corpus", "examples"):
            known = self._seen | {(None, name) for name in self._shared}
            if not {(None, dataset_name), (experiment_of(node.namespace, self._names), dataset_name)} & known:
                self._feed(dataset_name, data, node)

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Opens the run at its first node, and makes it the one that the node logs to."""
        name = experiment_of(node.namespace, self._names)
        set_current_run(None if name is None or CHECKS in node.tags else self._run_of(name))

    @hook_impl
    def after_node_run(self) -> None:
        """Leaves the run open for other nodes, which may run in other threads."""
        set_current_run(None)

    @hook_impl
    def on_node_error(self) -> None:
        """As after a successful node."""
        set_current_run(None)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Logs the dataset; a run is finished when the last output of its experiment is saved."""
        self._feed(dataset_name, data, node)
        with self._lock:
            if self._kind(dataset_name) == "summary" and (of := experiment_of(node.namespace, self._names)):
                self._results[of] = Result(data, self._file_of(dataset_name).parent)
            for name, unsaved in self._unsaved.items():
                if dataset_name in unsaved:
                    unsaved.discard(dataset_name)
                    if not unsaved and name in self._runs:
                        self._close_run(name, self._runs.pop(name), "FINISHED")
                        self._finished.append(name)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Closes every run."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Closes the runs that are not finished, as failed."""
        self._close("FAILED")

    def _run_of(self, name: str) -> TrackedRun | None:
        """The run of an experiment, which is opened if need be; None if it is finished."""
        with self._lock:
            if name not in self._runs and name not in self._finished:
                self._runs[name] = self._open(name)
            return self._runs.get(name)

    def _open(self, name: str) -> TrackedRun:
        from kedro.framework.project import pipelines

        assert self._outbox  # noqa: S101 - a node of a tracked run is running
        tags, held = self._tags(name), self._held.setdefault(name, {})
        whole = {node.name for node in pipelines[name].nodes if experiment_of(node.namespace, self._names) == name}
        if is_partial := bool(whole - self._nodes[name]):
            tags["partial"] = "true"
        identity = next((data.digest for dataset, data in held.items() if self._kind(dataset) == "identity"), None)
        parameters = self._catalog.load("parameters")
        shown = name if name in self._stages else f"{name} · seed {_seed(parameters, name)}"
        if imported := next((data.experiment for data in held.values() if getattr(data, "imported", None)), None):
            shown, tags[COLOUR] = f"{imported} · imported", colour_of(imported, experiment_names())
        group = self._stages.get(name, "trainings")
        run = self._outbox.open(shown, tags, None if is_partial else identity, group)
        run.log(params=flatten({"data": parameters["data"]}))
        for dataset_name, data in {**self._shared, **held}.items():
            self._log(dataset_name, data, run)
        return run

    def _tags(self, name: str) -> dict[str, str]:
        return {
            "report" if name in self._stages else "experiment": name,
            "env": self._env,
            **_source(self._project, name),
            "session": self._session,
            **({} if name in self._stages else {COLOUR: colour_of(name, experiment_names())}),
            "python": platform.python_version(),
            **{library: version(library) for library in ("trimood", "torch", "transformers", "peft")},
        }

    def _logged(self, dataset_name: str) -> Logged | None:
        return metadata_of(self._catalog.get(dataset_name)).mlflow

    def _kind(self, dataset_name: str) -> str | None:
        logged = self._logged(dataset_name)
        return logged.log if logged else None

    def _feed(self, dataset_name: str, data: Any, node: Node) -> None:
        """Logs a dataset to its run, or holds it until the run is opened; one of a shared stage goes to every run."""
        if not self._nodes or not self._logged(dataset_name):
            return
        name = experiment_of(node.namespace, self._names)
        with self._lock:
            self._seen.add((name, dataset_name))
            if name is None:
                self._shared[dataset_name] = data
            elif name not in self._runs:
                self._held.setdefault(name, {})[dataset_name] = data
            for of, run in list(self._runs.items()):
                if name in (None, of):
                    self._log(dataset_name, data, run)

    def _log(self, dataset_name: str, data: Any, run: TrackedRun) -> None:
        from trimood.tracking.kinds import LOG, Entry  # imports pandas, which every command would wait for

        if logged := self._logged(dataset_name):
            weights = f"{dataset_name.rpartition('.')[0]}.{logged.weights}"  # of the same namespace
            LOG[logged.log](Entry(run, data, self._file_of(dataset_name), logged, self._file_of(weights)))

    def _close_run(self, name: str, run: TrackedRun, status: Status, partial: bool = False) -> None:
        """Closes a run; the command says the result of one that is finished."""
        run.close(status, partial)
        if status == "FINISHED" and self._ending and (result := self._results.pop(name, None)):
            self._ending.results.append(result)

    def _file_of(self, dataset_name: str) -> Path:
        return Path(getattr(self._catalog.get(dataset_name), "_filepath", ""))

    def _close(self, unfinished: Status) -> None:
        if self._outbox is None:
            return
        outbox, runs, self._outbox, self._runs = self._outbox, self._runs, None, {}
        set_current_run(None)
        for name, run in runs.items():
            unsaved = bool(self._unsaved[name])
            self._close_run(name, run, unfinished if unsaved else "FINISHED", partial=unsaved)
        names, kept = ", ".join([*self._finished, *runs]), outbox.end()
        uri, ending, trainings = without_passwords(outbox.uri), self._ending, outbox.experiments.get("trainings")
        view = link(outbox.uri, trainings) if trainings else None
        if ending:
            report = self._file_of(REPORT) if self._catalog.get(REPORT) else None
            ending.add(Ending(link=view, served=uri.startswith("http"), report=report))
        if names and not (ending and ending.results):  # else the command says it last
            log.info("runs of %s are in MLflow at %s; view them with: make ui", names, uri)
            if view:
                log.info("compare all trainings: %s", view)
        if kept:
            log.warning("MLflow is still out of reach; %d records are kept, and sent by the next kedro run", kept)


def _seed(parameters: Mapping[str, Any], experiment: str) -> int:
    """The seed with which an experiment is trained: its own, or the shared one."""
    own = ExperimentParams.model_validate(parameters[experiment]).training
    return int(str(own.get("seed", TrainingParams.model_validate(parameters["training"]).seed)))


def _source(project: Path, pipeline: str) -> dict[str, str]:
    """The pipeline and the commit, as tags of ours and of MLflow's own; a commit with changed files ends on -dirty."""
    source = {"mlflow.source.name": f"kedro run --pipelines={pipeline}", "mlflow.source.type": "LOCAL"}
    git = shutil.which("git")

    def output_of(*arguments: str) -> str:
        asked = subprocess.run([str(git), *arguments], cwd=project, capture_output=True, text=True)  # noqa: PLW1510, S603
        return asked.stdout.strip()

    if not git or not (commit := output_of("rev-parse", "HEAD")):
        return {"git_commit": "not a git checkout", **source}
    dirty = "-dirty" if output_of("status", "--porcelain") else ""
    return {"git_commit": f"{commit[:12]}{dirty}", "mlflow.source.git.commit": commit, **source}


def _end_in_order_when_terminated() -> None:
    """Makes the signals of schedulers and of a closed terminal run the exit handlers, which close runs as killed.

    A signal that is handled or ignored already, as by nohup, is left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in {signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}:  # Windows has no SIGHUP
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, _: sys.exit(128 + number))
