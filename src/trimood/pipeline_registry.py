"""The pipelines by name: stages by hand, experiments from their files."""

from kedro.pipeline import Pipeline

from trimood.config.experiments import ExperimentFileError, experiment_names
from trimood.pipelines import (
    check_data,
    compare,
    cut_clips,
    demo,
    experiment,
    ingestion,
    predict,
    preprocessing,
    register,
    submission,
    tune,
)


def register_pipelines() -> dict[str, Pipeline]:
    """`kedro run --pipelines=NAME` for each key; `__default__` is every experiment."""
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
    if taken := sorted(experiments.keys() & stages.keys()):
        raise ExperimentFileError(f"{taken[0]}.yml: a stage has this name already; call the experiment something else.")
    return {**stages, **experiments, "__default__": sum(experiments.values(), Pipeline([]))}
