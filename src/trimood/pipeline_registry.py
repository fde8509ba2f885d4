"""The pipelines by name: the stages, and one for each experiment file."""

import os
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
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
from trimood.pipelines.export_weights import pipeline as export_weights
from trimood.pipelines.import_weights import pipeline as import_weights
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
        *(compare, submission, tune, predict, register, import_weights, export_weights),
    )
}
"""What each stage declares; every experiment is a copy of the stage `experiment`."""


class PipelinesOnDemand(Mapping[str, Pipeline]):
    """The pipelines by name. Each is made when it is first asked for: its nodes import pandas, which takes a while."""

    def __init__(self, makers: Mapping[str, Callable[[], Pipeline]]) -> None:
        self._makers = {name: cache(make) for name, make in makers.items()}

    def __getitem__(self, name: str) -> Pipeline:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def register_pipelines() -> Mapping[str, Pipeline]:
    """Returns the pipelines for `kedro run --pipelines=NAME`; `__default__` is every experiment.

    Raises ConfError; in a command UsageError, for Kedro's own commands such as `kedro registry list`.
    """
    try:
        return _pipelines()
    except ConfError as error:
        if click.get_current_context(silent=True):
            raise click.UsageError(str(error)) from None
        raise


def _pipelines() -> PipelinesOnDemand:
    if source_of_experiments() is None:  # a command without a session, such as `kedro registry list`
        look_for_experiments()
    experiments = {name: partial(_experiment, name) for name in experiment_names()}
    stages: dict[str, Callable[[], Pipeline]] = {
        "demo": demo.create_pipeline,
        "check_data": check_data.create_pipeline,
        "cut_clips": cut_clips.create_pipeline,
        "ingestion": ingestion.create_pipeline,
        "preprocessing": _data,
        "compare": compare.create_pipeline,
        "submission": _submission,
        "tune": lambda: _data().to_outputs("training_examples", "validation_examples") + tune.create_pipeline(),
        "predict": predict.create_pipeline,
        "register": register.create_pipeline,
        "import_weights": _import,
        "export_weights": export_weights.create_pipeline,
    }
    parameters = {name for stage in STAGES.values() for name in stage.parameters}
    for what, names in (("stage", stages.keys() | STAGES.keys()), ("parameter", {*SHARED, *parameters, "seeds"})):
        if taken := sorted(name for name in experiments if name.lower() in names):
            raise ExperimentFileError(f"{taken[0]}.yml: a {what} already has this name; rename the experiment.")
    return PipelinesOnDemand(
        {**stages, **experiments, "__default__": lambda: sum(map(_experiment, experiments), Pipeline([]))}
    )


@cache
def _data() -> Pipeline:
    return ingestion.create_pipeline() + preprocessing.create_pipeline()


def _experiment(name: str) -> Pipeline:
    return _data() + experiment.create_pipeline(name)


def _submission() -> Pipeline:
    annotations, clips = ingestion.create_submission_pipeline(), preprocessing.create_submission_pipeline()
    return annotations + clips + submission.create_pipeline()


def _import() -> Pipeline:
    """Without the training clips: nothing is trained on them."""
    data = _data().to_outputs("validation_examples", "test_examples", "corpus_description")
    evaluation = experiment.create_evaluation_pipeline("import_weights")
    return data + import_weights.create_pipeline() + evaluation


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
