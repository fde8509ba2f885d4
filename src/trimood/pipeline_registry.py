"""The pipelines by name: the stages, and one for each experiment file."""

import os
from pathlib import Path

import click
from kedro.framework.project import settings
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project

from trimood.config.checks import SHARED
from trimood.config.conf_files import ConfError, check_conf_files
from trimood.config.experiments import ExperimentFileError, experiment_names, read_experiments, source_of_experiments
from trimood.pipelines import Stage
from trimood.pipelines.check_data import pipeline as check_data
from trimood.pipelines.compare import pipeline as compare
from trimood.pipelines.cut_clips import pipeline as cut_clips
from trimood.pipelines.demo import pipeline as demo
from trimood.pipelines.experiment import pipeline as experiment
from trimood.pipelines.ingestion import pipeline as ingestion
from trimood.pipelines.predict import pipeline as predict
from trimood.pipelines.preprocessing import pipeline as preprocessing
from trimood.pipelines.register import pipeline as register
from trimood.pipelines.submission import pipeline as submission
from trimood.pipelines.tune import pipeline as tune

STAGES: dict[str, Stage] = {
    stage.__name__.split(".")[-2]: stage.STAGE
    for stage in (
        *(demo, check_data, cut_clips, ingestion, preprocessing, experiment),
        *(compare, submission, tune, predict, register),
    )
}
"""What each stage declares; every experiment is a copy of the stage `experiment`."""


def register_pipelines() -> dict[str, Pipeline]:
    """Returns the pipelines for `kedro run --pipelines=NAME`; `__default__` is every experiment.

    Raises ConfError; in a command UsageError, for Kedro's own commands such as `kedro registry list`.
    """
    try:
        return _pipelines()
    except ConfError as error:
        if click.get_current_context(silent=True):
            raise click.UsageError(str(error)) from None
        raise


def _pipelines() -> dict[str, Pipeline]:
    if source_of_experiments() is None:  # a command without a session, such as `kedro registry list`
        look_for_experiments()
    data = ingestion.create_pipeline() + preprocessing.create_pipeline()
    experiments = {name: data + experiment.create_pipeline(name) for name in experiment_names()}
    stages = {
        "demo": demo.create_pipeline(),
        "check_data": check_data.create_pipeline(),
        "cut_clips": cut_clips.create_pipeline(),
        "ingestion": ingestion.create_pipeline(),
        "preprocessing": data,
        "compare": compare.create_pipeline(),
        "submission": ingestion.create_submission_pipeline()
        + preprocessing.create_submission_pipeline()
        + submission.create_pipeline(),
        "tune": data.to_outputs("training_examples", "validation_examples") + tune.create_pipeline(),
        "predict": predict.create_pipeline(),
        "register": register.create_pipeline(),
    }
    parameters = {name for stage in STAGES.values() for name in stage.parameters}
    for what, names in (("stage", stages.keys() | STAGES.keys()), ("parameter", {*SHARED, *parameters, "seeds"})):
        if taken := sorted(name for name in experiments if name.lower() in names):
            raise ExperimentFileError(f"{taken[0]}.yml: a {what} already has this name; rename the experiment.")
    return {**stages, **experiments, "__default__": sum(experiments.values(), Pipeline([]))}


def look_for_experiments(conf_source: str | None = None, env: str | None = None) -> bool:
    """Finds the experiments in the configuration that Kedro uses for these command options.

    Returns whether they differ from those known before. Raises ConfError, also for another wrong file there.
    """
    project = Path(find_kedro_project(Path.cwd()) or Path.cwd()).resolve()
    loader = settings.CONFIG_LOADER_ARGS
    environments = (loader["base_env"], env or os.environ.get("KEDRO_ENV") or loader["default_run_env"])
    source = conf_source or str(project / settings.CONF_SOURCE)
    check_conf_files(source, environments)
    return read_experiments(source, environments)
