"""One MLflow run for each experiment of a `kedro run`; the catalog's `metadata.mlflow` says what goes into it."""

import atexit
import logging
import os
import platform
import shutil
import subprocess
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
from pydantic import BaseModel

from trimood.experiments import experiment_names

log = logging.getLogger(__name__)

SQLITE = "sqlite:///"


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested mappings as {"training.learning_rate": 5e-05}; a list becomes its items joined by '+'.

    A parameter class counts as the mapping it was made from: Kedro puts both into the catalog.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {k: v for key, item in value.items() for k, v in flatten(item, f"{prefix}.{key}".strip(".")).items()}
    return {prefix: "+".join(map(str, value)) if isinstance(value, list | tuple) else value}


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


class TrackRuns:
    """Opens a run at an experiment's first node, feeds it from the catalog, and closes it by what became of it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, str] = {}
        self._unsaved: dict[str, set[str]] = {}

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remembers conf/*/mlflow.yml and where the project lies; nothing is touched until a run begins."""
        self._conf = context.config_loader["mlflow"]
        self._project = Path(context.project_path)
        self._env = context.env or context.config_loader.default_run_env

    @hook_impl(trylast=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Points MLflow at the store where there is an experiment among the nodes; refuses ParallelRunner."""
        self._close("KILLED")  # left open by a session that was stopped in this process, as in a notebook
        self._catalog, self._session, self._names = catalog, str(run_params.get("run_id")), set(experiment_names())
        self._nodes: dict[str, set[str]] = {}
        self._unsaved = {}
        for node in pipeline.nodes:
            if name := self._experiment(node):
                self._nodes.setdefault(name, set()).add(node.name)
                self._unsaved.setdefault(name, set()).update(node.outputs)
        if not self._nodes:
            return
        if "Parallel" in str(run_params.get("runner")):
            raise click.UsageError(
                "--runner=ParallelRunner runs no hooks in its workers, so nothing would be tracked. "
                "Use the default runner: clips are prepared on all cores anyway (data.clips.workers)."
            )
        import mlflow

        own = not os.environ.get("MLFLOW_TRACKING_URI")
        use_store(tracking_uri(self._conf["tracking_uri"], self._project))
        name = self._conf["experiment"]
        if mlflow.get_experiment_by_name(name) is None:
            mlflow.create_experiment(name, (self._project / self._conf["artifacts"]).as_uri() if own else None)
        self._experiment_id = str(mlflow.set_experiment(name).experiment_id)
        # After `import mlflow`, so that this comes before MLflow's own, which would call a stopped run finished.
        atexit.register(self._close, "KILLED")

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """A plan that is read, not made, still says what a partial run's parameters are."""
        if self._spec(dataset_name).get("log") == "plan":
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
        self._unsaved.get(self._experiment(node), set()).discard(dataset_name)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Closes every run."""
        self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self) -> None:
        """Closes every run: those that had saved everything as finished, the others as failed."""
        self._close("FAILED")

    def _experiment(self, node: Node) -> str:
        """The first part of the node's namespace, where that is an experiment; else empty."""
        first = (node.namespace or "").split(".")[0]
        return first if first in self._names else ""

    def _run_of(self, node: Node) -> str | None:
        name = self._experiment(node)
        with self._lock:
            if name and name not in self._runs:
                self._runs[name] = self._open(name)
        return self._runs.get(name)

    def _open(self, name: str) -> str:
        import mlflow
        from kedro.framework.project import pipelines

        tags = self._tags(name)
        if {node.name for node in pipelines[name].nodes if self._experiment(node) == name} - self._nodes[name]:
            tags["partial"] = "true"
        run = mlflow.MlflowClient().create_run(self._experiment_id, run_name=name, tags=tags)
        mlflow.log_params(flatten({"data": self._catalog.load("parameters")["data"]}), run_id=run.info.run_id)
        return str(run.info.run_id)

    def _tags(self, name: str) -> dict[str, str]:
        return {
            "experiment": name,
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
        run, spec = self._run_of(node), self._spec(dataset_name)
        if not run or not spec:
            return
        import mlflow

        if spec["log"] == "plan":
            facts = {**data["settings"], "parameters": data["parameters"], "checkpoint": data["checkpoints"]}
            mlflow.log_params(flatten(facts), run_id=run)
        elif spec["log"] == "scores":
            mlflow.log_metrics(_flat_scores(data), run_id=run)
            mlflow.log_dict(data, "scores.json", run_id=run)
        elif spec["log"] == "file":
            mlflow.log_artifact(str(self._catalog[dataset_name]._filepath), spec.get("as"), run_id=run)

    def _deactivate(self, node: Node) -> None:
        if self._experiment(node):
            import mlflow

            mlflow.end_run("RUNNING")

    def _close(self, unfinished: str) -> None:
        if not self._runs:
            return
        import mlflow

        active = mlflow.active_run()
        if active and active.info.run_id in self._runs.values():  # stopped within a node
            mlflow.end_run(unfinished)
        client = mlflow.MlflowClient()
        tags = self._tags_from_catalog()
        for name, run in self._runs.items():
            for key, value in {**tags, **({"partial": "true"} if self._unsaved[name] else {})}.items():
                client.set_tag(run, key, value)
            client.set_terminated(run, unfinished if self._unsaved[name] else "FINISHED")
        log.info(
            "MLflow keeps %s in %s: make ui shows and compares the runs",
            ", ".join(self._runs),
            mlflow.get_tracking_uri(),
        )
        self._runs = {}

    def _tags_from_catalog(self) -> dict[str, Any]:
        """What says of the data that all experiments share; it may have been made in an earlier session."""
        specs = {name: self._spec(name) for name in self._catalog.keys()}  # noqa: SIM118 - a catalog, not a mapping
        return {
            key: value
            for name, spec in specs.items()
            if spec.get("log") == "tags" and self._catalog.exists(name)
            for key, value in flatten({spec["as"]: self._catalog.load(name)}).items()
        }


def _commit(project: Path) -> str:
    """The commit that is checked out, with `-dirty` where files differ from it; empty where there is no git."""
    git = shutil.which("git")
    command = ["describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run([git, *command], cwd=project, capture_output=True, text=True).stdout.strip() if git else ""  # noqa: PLW1510, S603


def _flat_scores(scores: dict[str, Any]) -> dict[str, float]:
    """{"test": {"macro_f1": …, "per_class": {"joy": {"f1": …}}}} as {"test/macro_f1": …, "test f1/joy": …}."""
    flat: dict[str, float] = {}
    for split, of_split in scores.items():
        flat |= {f"{split}/{k}": v for k, v in of_split.items() if isinstance(v, int | float)}
        for emotion, row in of_split["per_class"].items():
            flat |= {f"{split} {measure}/{emotion}": v for measure, v in row.items() if measure != "support"}
    return flat
