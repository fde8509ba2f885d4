"""Kedro hooks: check parameters and catalog, generate missing raw data, log result paths.

Every command imports this module, so nothing here may import pandas, which takes half a second.
"""

import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework import project
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.session import KedroSession
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from trimood.config.checks import check_globals, check_parameters
from trimood.config.conf_files import check_conf_files
from trimood.config.experiments import experiment_names, read_experiments, source_of_experiments
from trimood.config.metadata import MadeBy, check_metadata, metadata_of
from trimood.config.parameters import Corpus, did_you_mean, flatten
from trimood.datasets import GENERATED, STORED, FolderDataset, ModelDataset
from trimood.disk import hold, lock_of_folder, release
from trimood.pipelines import Stage
from trimood.refusals import in_words

log = logging.getLogger(__name__)


class CheckParameters:
    """Rejects a wrong parameter anywhere in conf/ or --params, and wrong metadata in the catalog; names its path."""

    def __init__(self, stages: Iterable[Stage] = ()) -> None:
        """`stages` declare the types of their parameters."""
        self._of_stages = {name: kind for stage in stages for name, kind in stage.parameters.items()}

    @hook_impl(tryfirst=True)
    def after_context_created(self, context: KedroContext) -> None:
        """Checks all parameters, not only those that this run reads.

        Runs before Kedro's own check, which covers only parameters with a type and has less readable errors.
        """
        loader = context.config_loader
        _refuse_missing_environments(loader)
        try:
            check_conf_files(str(loader.conf_source), (loader.base_env, loader.env or loader.default_run_env))
            check_globals(dict(loader["globals"]))
            _read_experiments_of(loader)
            parameters = loader["parameters"]
            check_parameters(parameters, experiment_names(), self._of_stages)
        except (MissingConfigException, ValueError, YAMLError, OmegaConfBaseException) as error:
            raise click.UsageError(in_words(error) or str(error)) from None
        loader["parameters"] = parameters  # Kedro then does not read the files again

    @hook_impl
    def after_catalog_created(self, conf_catalog: Mapping[str, object]) -> None:
        """Checks the metadata of all entries, not only those that this run uses."""
        try:
            check_metadata(conf_catalog)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


def _read_experiments_of(loader: AbstractConfigLoader) -> None:
    """Finds the experiments of this session's configuration, and rebuilds the pipelines if they have changed.

    A command has read them already, but in a notebook they may have changed since the last session.
    """
    where = (str(loader.conf_source), (loader.base_env, loader.env or loader.default_run_env))
    if source_of_experiments() == where and click.get_current_context(silent=True):
        return
    if read_experiments(*where):
        project.pipelines.configure(f"{project.PACKAGE_NAME}.pipeline_registry")


def _refuse_missing_environments(loader: AbstractConfigLoader) -> None:
    """Raises UsageError if a folder of configuration has no folder of the environment, or none of shared values."""
    conf = Path(loader.conf_source)
    if not conf.is_dir():  # an archive
        return
    names = sorted(path.name for path in conf.iterdir() if path.is_dir())
    environment = loader.env or loader.default_run_env
    for name, given in ((loader.base_env, f"--conf-source={conf}"), (environment, f"--env={environment}")):
        if name not in names:
            others = [known for known in names if known != loader.base_env and any(conf.glob(f"{known}/**/*.y*ml"))]
            hint = did_you_mean(name, others)
            raise click.UsageError(
                f"{given}: {conf} has no environment {name}, no folder of this name; there are: "
                f"{', '.join(others) or 'none'}.{hint}"
            )


class RefuseMissingInputs:
    """Refuses a run whose inputs are missing and cannot be made, before anything is made or loaded for it."""

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: Mapping[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Raises UsageError for a missing file, with the command that writes it, and for a corpus without annotations.

        Raises DatasetError of a missing folder and of a missing file that knows its command.
        """
        given = run_params.get("runtime_params") or {}
        inputs = {
            name: dataset for name in sorted(pipeline.inputs()) if isinstance(dataset := catalog.get(name), STORED)
        }
        made = {
            dataset._filepath
            for dataset in inputs.values()
            if (maker := metadata_of(dataset).made_by) and maker.unless_given not in given
        }
        # The corpus first; then files that know the command which writes them, as its message is the better one.
        for name in sorted(inputs, key=lambda name: (name != "corpus", not isinstance(inputs[name], ModelDataset))):
            dataset = inputs[name]
            if dataset._filepath in made:
                continue
            if not catalog.exists(name):
                if isinstance(dataset, FolderDataset | ModelDataset):
                    catalog.load(name)
                else:
                    raise click.UsageError(f"{dataset._filepath}: it does not exist yet.{_command_for(name)}")
            if name == "corpus":
                kind = catalog.load("parameters")["data"].get("corpus", "ecf")
                _refuse_no_annotations(catalog.load(name), kind, {node.name for node in pipeline.nodes})
        for name in pipeline.outputs():
            if isinstance(dataset := catalog.get(name), FolderDataset):
                dataset.check_generated()


def _command_for(dataset: str) -> str:
    """The command that writes a dataset: an experiment if one does, else the first pipeline."""
    writers = [name for name, pipeline in project.pipelines.items() if dataset in pipeline.all_outputs()]
    chosen = next((name for name in writers if name in experiment_names()), next(iter(writers), None))
    return f" First run the pipeline that writes it: kedro run --pipelines={chosen}" if chosen else " Check its path."


def _refuse_no_annotations(corpus: Path, kind: Corpus, nodes: set[str]) -> None:
    from trimood.corpus.corpus_files import refusal

    if message := refusal(corpus, kind, every_split="ingestion.read_annotations" in nodes):
        raise click.UsageError(message)


class MakeMissingInputs:
    """Generates missing raw data: runs the pipeline that the dataset's `metadata.made_by` names.

    The first command thus generates the demo's corpus and checkpoints; a later one does so again if their parameters
    have changed. Nothing is generated at a path given with --params, where a misspelt folder must be an error. Only
    nodes whose outputs are missing run.
    """

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Remembers the configuration, for the sessions that generate data."""
        self._conf_source = str(context.config_loader.conf_source)

    @hook_impl
    def before_pipeline_run(self, run_params: Mapping[str, Any], pipeline: Pipeline, catalog: DataCatalog) -> None:
        """Generates the missing datasets that the run reads and does not write."""
        self._catalog = catalog
        given = run_params.get("runtime_params") or {}

        def missing() -> dict[str, list[str]]:
            found: dict[str, list[str]] = {}
            for name in pipeline.inputs():
                maker = metadata_of(catalog.get(name)).made_by
                if maker and maker.unless_given not in given and not _is_there(name, maker, catalog):
                    found.setdefault(maker.pipeline, []).append(name)
            return found

        # Another command may be making them; then nothing is missing once it is done.
        paths = [Path(catalog[name]._filepath) for names in missing().values() for name in names]
        locks = sorted(map(lock_of_folder, set(paths)))
        for lock in locks:
            hold(lock, wait=True)
        try:
            self._make(missing(), run_params, given)
        finally:
            release(*locks)
        self._catalog = catalog

    def _make(self, missing: dict[str, list[str]], run_params: Mapping[str, Any], given: Mapping[str, Any]) -> None:
        for maker_pipeline, names in missing.items():
            _refuse_to_fill_given(maker_pipeline, names, set(given))
            log.info("Making %s first, with the pipeline %r", ", ".join(sorted(names)), maker_pipeline)
            # A separate session, as for `kedro run`, so that this pipeline's parameters are checked and typed too.
            with KedroSession.create(
                run_params["project_path"], env=run_params["env"], runtime_params=given, conf_source=self._conf_source
            ) as session:
                session.run(pipeline_names=[maker_pipeline], to_outputs=names)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Writes the parameters that generated a folder into its marker file."""
        if maker := metadata_of(self._catalog.get(dataset_name)).made_by:
            marker = Path(self._catalog[dataset_name]._filepath) / GENERATED
            marker.write_text(_recipe(maker, self._catalog), encoding="utf-8")


def _recipe(maker: MadeBy, catalog: DataCatalog) -> str:
    return json.dumps(flatten(catalog.load("parameters")[maker.parameters]), sort_keys=True)


def _is_there(name: str, maker: MadeBy, catalog: DataCatalog) -> bool:
    """Whether the folder exists and is either the user's own or was generated with the current parameters."""
    if not catalog.exists(name):
        return False
    marker, wanted = Path(catalog[name]._filepath) / GENERATED, _recipe(maker, catalog)
    if not marker.is_file() or marker.read_text(encoding="utf-8") == wanted:
        return True
    log.info("%s was not made with %s: %s", name, maker.parameters, wanted)
    return False


def _refuse_to_fill_given(maker_pipeline: str, names: list[str], given: set[str]) -> None:
    """Raises UsageError if generating `names` would also write a dataset whose path the user has given."""
    pipelines = project.pipelines
    pipelines.set_requested(None)
    clash = pipelines[maker_pipeline].to_outputs(*names).all_outputs() & given
    if clash:
        raise click.UsageError(
            f"{', '.join(names)} is missing, and making it would also make {', '.join(sorted(clash))}, whose path "
            f"--params give. Give the paths of all, or run `kedro run --pipelines={maker_pipeline}` first."
        )


class TellPaths:
    """Logs the path of each result whose catalog entry has a description in `metadata.tell`."""

    @hook_impl(trylast=True)
    def before_pipeline_run(self, catalog: DataCatalog) -> None:
        """Remembers the catalog. Runs after MakeMissingInputs, whose sessions have catalogs of their own."""
        self._catalog = catalog

    @hook_impl
    def after_dataset_saved(self, dataset_name: str) -> None:
        """Logs the path as soon as the result is stored."""
        dataset = self._catalog.get(dataset_name)
        if words := metadata_of(dataset).tell:
            log.info("%s: %s", dataset._filepath, words)
