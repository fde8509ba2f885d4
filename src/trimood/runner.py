"""Runs the experiments of a command one after the other, each under a lock, and none that is finished already."""

import json
import logging
import os
import shutil
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from kedro.framework.hooks import hook_impl
from kedro.framework.project import pipelines
from kedro.io import DataCatalog, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro.runner import SequentialRunner

from trimood.config.experiments import experiment_names, experiment_of
from trimood.config.metadata import metadata_of
from trimood.datasets import FolderDataset, training_in
from trimood.disk import InUse, hold, is_held, lock_of_folder, note_holder, release, release_all, written_whole
from trimood.model.config import CheckpointError
from trimood.tracking.hook import CHECKS
from trimood.tracking.results import Result, ending_of_command
from trimood.tracking.store import OutOfReach, store_in_use

if TYPE_CHECKING:
    from trimood.model.stored import RunIdentity, TrainedWeights

log = logging.getLogger(__name__)

SHARED = ("ingestion", "preprocessing")
"""Stages whose results all experiments read; one command at a time runs them."""

SEARCH = "tune"
"""The stage that trains as experiments do: it runs after the shared stages, too."""

IMPORT = "import_weights"
"""The stage that stores weights where the experiment named by the parameter `experiment` stores its own."""

TRAINING = "training"
"""Tag of the nodes that write trained weights."""

REACHED = "trimood.runner.reached"
"""True in a command's `click.Context.meta` once the shared stages and the checks have finished."""

MORE_SEEDS = "trimood.runner.more_seeds"
"""True in a command's `click.Context.meta` while sessions with other seeds follow."""

MARKER = "finished.json"
"""A file beside the weights with the identity of the run whose results are all stored."""

SEVERAL = (
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "PMI_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS",
)
RANKS = ("RANK", "LOCAL_RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Environment variables in which torchrun, accelerate, MPI and Slurm number the processes that they start."""


class ExperimentRunner(SequentialRunner):
    """Runs the shared stages and the checks of all experiments first, then one experiment after the other.

    Kedro orders nodes by the graph: all trainings, then all evaluations, so an error in the last training would leave
    no experiment evaluated. Here an experiment that fails is logged, the others continue, and the first error is raised
    at the end. An experiment that is finished under the same identity is skipped, unless the parameter `rerun` is true.
    Datasets between the parts are loaded from the catalog, so each needs an entry there.
    """

    def _run(self, pipeline: Pipeline, catalog: DataCatalog, *args: Any, **kwargs: Any) -> None:
        separate = [*experiment_names(), SEARCH, IMPORT]

        def turn(node: Node) -> str:
            return "" if CHECKS in node.tags else experiment_of(node.namespace, separate) or ""

        def run(nodes: Iterable[Node]) -> None:
            # Skips SequentialRunner's own method, which logs a hint about --async for each part.
            part = pipeline.filter(node_names=[node.name for node in nodes])
            super(SequentialRunner, self)._run(part, catalog, *args, **kwargs)

        parts = {name: list(nodes) for name, nodes in groupby(sorted(pipeline.nodes, key=turn), key=turn)}
        if shared := parts.pop("", []):
            run(shared)
        command = click.get_current_context(silent=True)
        more_seeds = bool(command and command.meta.get(MORE_SEEDS))
        if parts:
            _begin_training(parts, catalog)
            if command:
                command.meta[REACHED] = True
        errors: list[Exception] = []
        for name, nodes in parts.items():
            try:
                whole = WholeExperiment.of(name, pipeline, catalog)
                if whole and whole.is_finished(more_seeds):
                    continue
                if whole is None:
                    run(nodes)
                    continue
                if training := [node for node in nodes if TRAINING in node.tags]:
                    run(training)
                    whole.remove_evaluation_of_another()
                run(node for node in nodes if TRAINING not in node.tags)
                whole.finish()
            except Exception as error:
                log.error("%s failed: %s", name, error)
                errors.append(error)
            finally:
                lock = lock_of(name, catalog)
                if lock and not more_seeds:
                    release(lock)
        if errors:
            raise errors[0]


def _begin_training(names: Iterable[str], catalog: DataCatalog) -> None:
    """Lets other commands run the shared stages, unless they would change what these experiments train on."""
    for lock in [lock_of(name, catalog) for name in names]:
        if lock and is_held(lock):
            note_holder(lock, trains=True)
    if shared := lock_of(SHARED[0], catalog):
        release(shared)


@dataclass(frozen=True)
class WholeExperiment:
    """An experiment of which this command runs every node."""

    name: str
    identity: "RunIdentity"
    catalog: DataCatalog
    outputs: list[str]
    evaluation: list[str]

    @classmethod
    def of(cls, name: str, pipeline: Pipeline, catalog: DataCatalog) -> "WholeExperiment | None":
        """None if some nodes of the experiment are left out, and for a search or an import."""
        if (
            _models(catalog) is None
            or name not in experiment_names()
            or f"{name}.identity" not in pipeline.all_outputs()
        ):
            return None
        nodes = [node for node in pipelines[name].nodes if experiment_of(node.namespace, [name])]
        if not {node.name for node in nodes} <= {node.name for node in pipeline.nodes}:
            return None
        outputs = [output for node in nodes for output in node.outputs]
        evaluation = [output for node in nodes if not node.tags & {CHECKS, TRAINING} for output in node.outputs]
        return cls(name, catalog.load(f"{name}.identity"), catalog, outputs, evaluation)

    def is_finished(self, more_seeds: bool) -> bool:
        """Whether a run with the same result is finished and its files are here; says so, and how to train again.

        With `more_seeds`, the files need not be here: the command goes on with another seed, which replaces them.
        """
        run = self._finished_run()
        is_marked = _marked(self._folder) == self.identity.digest
        if not run or not (more_seeds or (is_marked and self._files_are_here())):
            return False
        if self.catalog.load("parameters").get("rerun"):
            if is_marked:  # else it is a `rerun` that was interrupted, which goes on
                (self._folder / MARKER).unlink()
                self._remove_checkpoints()
            return False
        where = "its files are replaced by those of the next seed" if more_seeds else f"its files are in {self._folder}"
        log.info(
            "%s is finished: nothing it depends on has changed, MLflow run %s holds the result, and %s. To train it "
            "again: --params rerun=true",
            self.name,
            run,
            where,
        )
        self._remove_checkpoints()
        if not more_seeds:
            self._follow_moved_checkpoints()
        self._add_to_ending(run, is_here=is_marked)
        return True

    def _add_to_ending(self, run: str, is_here: bool) -> None:
        """Adds the result to what the command says last: from its file, or from MLflow if it is another seed's."""
        from trimood.tracking.runs import stored_summary

        dataset = self.catalog.get(f"{self.name}.summary")
        if dataset and (ending := ending_of_command()):
            summary = None
            if is_here:
                with suppress(DatasetError):  # removed or damaged, which makes a finished run no less finished
                    summary = dataset.load()
            if summary is None:
                summary = stored_summary(run)
            if summary:
                ending.results.append(Result(summary, Path(dataset._filepath).parent if is_here else None))

    def finish(self) -> None:
        """Marks the files as those of this identity, and removes the checkpoints, which nobody needs any more."""
        with written_whole(self._folder / MARKER) as beside:
            beside.write_text(json.dumps({"identity": self.identity.digest}), encoding="utf-8")
        self._remove_checkpoints()

    def finish_unless_other_files(self) -> None:
        """As `finish`, unless the stored weights are of another seed, for which this one was skipped."""
        if self._files_are_here():
            self.finish()

    def remove_evaluation_of_another(self) -> None:
        """Removes what was computed with the weights that this training has replaced."""
        if _marked(self._folder) != self.identity.digest:
            for output in self.evaluation:
                if path := getattr(self.catalog.get(output), "_filepath", None):
                    Path(path).unlink(missing_ok=True)

    def _finished_run(self) -> str | None:
        from trimood.tracking.runs import finished_run  # imports pandas, which every command would wait for

        try:
            run, is_answer = finished_run(self.identity.digest), store_in_use() is not None
        except OutOfReach:
            run, is_answer = None, False
        if run is None and not is_answer and _marked(self._folder) == self.identity.digest:
            return "(MLflow does not answer now)"
        return run

    def _files_are_here(self) -> bool:
        if not all(self.catalog.exists(output) for output in self.outputs):
            return False
        try:
            return all(stored.about.identity.digest == self.identity.digest for stored in self._weights().values())
        except (CheckpointError, DatasetError) as error:
            log.warning("%s is trained again: %s", self.name, error)
            return False

    def _weights(self) -> "dict[str, TrainedWeights]":
        return {name: self.catalog.load(name) for name in (f"{self.name}.best_weights", f"{self.name}.last_weights")}

    def _follow_moved_checkpoints(self) -> None:
        """Writes the present paths of the checkpoints into the weights, as after the checkout was moved."""
        from trimood.model.stored import TrainedWeights

        for name, stored in self._weights().items():
            if stored.about.identity != self.identity:
                about = stored.about.model_copy(update={"identity": self.identity})
                self.catalog.save(name, TrainedWeights(about, stored.tensors))

    @property
    def _folder(self) -> Path:
        return (_models(self.catalog) or Path()) / self.name

    def _remove_checkpoints(self) -> None:
        shutil.rmtree(self.catalog.load("training_checkpoints") / self.identity.digest, ignore_errors=True)


def _marked(folder: Path) -> str | None:
    """The identity of the run whose whole results are stored, from the marker in the folder of the experiment."""
    try:
        return str(json.loads((folder / MARKER).read_text(encoding="utf-8"))["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unmark(name: str, catalog: DataCatalog) -> None:
    """Removes the marker of an experiment unless it is that of the stored identity."""
    models = _models(catalog)
    if models is None or not catalog.exists(f"{name}.identity"):
        return
    try:
        identity = catalog.load(f"{name}.identity").digest
    except DatasetError:  # of another version
        identity = None
    if _marked(models / name) != identity:
        (models / name / MARKER).unlink(missing_ok=True)


def _models(catalog: DataCatalog) -> Path | None:
    dataset = catalog.get("models")
    return dataset._filepath if isinstance(dataset, FolderDataset) else None


def lock_of(name: str, catalog: DataCatalog) -> Path | None:
    """The lock of an experiment or a stage; None in a catalog without the folder of models.

    An experiment has its own, which an import takes as well; a search that of the experiment whose parameters it
    searches; the shared stages have one.
    """
    models = _models(catalog)
    if models is None:
        return None
    if name in experiment_names():
        return models / name / ".lock"
    if name == IMPORT:
        return models / catalog.load("params:experiment") / ".lock"
    if name == SEARCH:
        return models / f".search-{catalog.load('params:experiment')}.lock"
    return models.parent / f".{'shared' if name in SHARED else name}.lock"


class HoldLocks:
    """Takes the locks of a command before anything is prepared, and refuses what another command is working on."""

    _folders: Sequence[Path] = ()

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Raises ClickException if another command runs one of the experiments, and for several processes of one.

        Waits for another command that runs the shared stages, or the same stage, because their files would be mixed.
        """
        names = _stages_of(pipeline)
        trained = names.intersection([*experiment_names(), SEARCH, IMPORT])
        if trained:
            refuse_several_processes()
        if command := click.get_current_context(silent=True):
            command.find_root().call_on_close(release_all)
        elif names:
            release_all()  # what an interrupted session left in this process, as in a notebook
        for name in [*sorted(trained), *sorted(names - trained)]:
            lock = lock_of(name, catalog)
            try:
                if lock:
                    hold(lock, wait=name not in trained)
            except InUse as error:
                raise click.ClickException(f"{name}: {error}. {REMEDY}") from None
        self._folders = _hold_generated(pipeline, catalog)

    @hook_impl(wrapper=True, specname="before_pipeline_run")
    def release_if_refused(self, pipeline: Pipeline) -> Generator[None, None, None]:
        """Releases the locks if this or another hook refuses the run, as nothing is called then after it."""
        try:
            return (yield)
        except BaseException:
            self._release_after(pipeline)
            raise

    @hook_impl
    def before_node_run(self, node: Node, catalog: DataCatalog) -> None:
        """Removes the marker of an experiment before files of another run are written beside it."""
        name = experiment_of(node.namespace, experiment_names())
        if name and CHECKS not in node.tags:
            unmark(name, catalog)

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Releases the locks, except on the command line, where further sessions may follow.

        Marks whole experiments as finished, which ExperimentRunner has done already, but no other runner does.
        """
        for name in _stages_of(pipeline).intersection(experiment_names()):
            lock = lock_of(name, catalog)
            if lock and is_held(lock) and (whole := WholeExperiment.of(name, pipeline, catalog)):
                whole.finish_unless_other_files()
        self._release_after(pipeline)

    @hook_impl(trylast=True)
    def on_pipeline_error(self, pipeline: Pipeline) -> None:
        """As after a run without errors."""
        self._release_after(pipeline)

    def _release_after(self, pipeline: Pipeline) -> None:
        if click.get_current_context(silent=True):
            return
        release(*self._folders)
        if _stages_of(pipeline):
            release_all()


def _generated_folder(dataset: object) -> Path | None:
    return dataset._filepath if isinstance(dataset, FolderDataset) and metadata_of(dataset).made_by else None


def _hold_generated(pipeline: Pipeline, catalog: DataCatalog) -> list[Path]:
    """Holds the folders that the pipeline generates, unless this process does already; returns the locks.

    Raises ClickException if a folder would be replaced while an experiment is trained, which reads the checkpoints.
    """
    paths = sorted(path for name in pipeline.all_outputs() if (path := _generated_folder(catalog.get(name))))
    locks = [lock_of_folder(path) for path in paths]
    models = _models(catalog)
    for name, holder in training_in(models) if models and any(path.exists() for path in paths) else ():
        raise click.ClickException(
            f"{', '.join(map(str, paths))}: not generated anew, because {name} is trained by {holder}. Wait until that "
            "command has finished, or use another place for this command: --params data_root=FOLDER"
        )
    if any(map(is_held, locks)):  # a session within another one, which holds what it needs
        return []
    for lock in locks:
        hold(lock, wait=True)
    return locks


def _stages_of(pipeline: Pipeline) -> set[str]:
    """Experiments and stages but for `demo`, whose folders are locked one by one, within sessions of other stages."""
    return {str(node.namespace).split(".")[0] for node in pipeline.nodes} - {"demo"}


REMEDY = (
    "Wait until it has finished, or use another place for this command: --params data_root=FOLDER. Several seeds of "
    "one experiment are one command: --params seeds=[1,2]. Other experiments can run at the same time."
)


def refuse_several_processes() -> None:
    """Raises UsageError if a launcher has started several processes: each would train alone, with wrong scores."""
    numbers = {name: os.environ.get(name, "") for name in (*SEVERAL, *RANKS)}
    several = [
        f"{name}={value}" for name, value in numbers.items() if value.isdigit() and int(value) > (name in SEVERAL)
    ]
    if several:
        raise click.UsageError(
            f"{', '.join(several)} in the environment: several processes were started, as torchrun, accelerate launch "
            "or mpirun do. trimood starts processes itself. To train one experiment on several devices: kedro run "
            "--pipelines=… --params training.processes=2. Several seeds or experiments at a time: --params jobs=2."
        )
