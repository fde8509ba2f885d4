"""Nodes of the tuning stage."""

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import yaml

from trimood.config.experiment_settings import ExperimentParams, LoraParams, LossParams, TrainingParams
from trimood.config.parameters import ClipParams, EmbeddingParams, TuneParams, flatten
from trimood.config.plan import Plan, SearchPlan
from trimood.corpus.preparation import refuse_without_clips
from trimood.corpus.tables import CorpusDescription
from trimood.emotions import Source
from trimood.learning.search.space import BestTrial, StudyError, as_set, check_space, settings_with, with_changes

log = logging.getLogger(__name__)


def plan_search(
    experiment: str,
    parameters: Mapping[str, ExperimentParams | dict[str, object]],
    training: TrainingParams,
    lora: LoraParams,
    loss: LossParams,
    tune: TuneParams,
    clips: ClipParams,
    video_checkpoint: str,
    audio_checkpoint: str,
    text_tower: str,
) -> SearchPlan:
    """Plans the search and checks its space; reads no clips.

    Raises StudyError if Optuna is not installed, SpaceError, CheckpointError, AdapterError or DeviceError.
    """
    if find_spec("optuna") is None:  # checked before clips are prepared, which may take hours
        raise StudyError("a search needs Optuna, which is not installed: pip install 'trimood[tune]'")
    from trimood.learning.device import check_device, shared_out
    from trimood.learning.experiment import plan_experiment

    if tune.jobs > 1:
        shared_out(tune.jobs)
    own = parameters[experiment]
    own = own.model_dump(mode="json", exclude_unset=True) if isinstance(own, ExperimentParams) else own
    check_space(experiment, own, training, lora, loss, tune.space)
    for parameter, dimension in tune.space.items():
        for value in dimension.choices or ():
            check_device(settings_with(own, training, lora, loss, {parameter: value}).training, tune.jobs)
    settings = settings_with(own, training, lora, loss, {})
    check_device(settings.training, tune.jobs)
    refuse_without_clips(settings, clips)
    places: dict[Source, str] = {"video": video_checkpoint, "audio": audio_checkpoint, "text": text_tower}
    planned = plan_experiment(settings, places, clips.reader, clips.stereo)
    return SearchPlan(
        **dict(planned),
        experiment=experiment,
        study=tune.study or experiment,
        own=own,
        training=training,
        lora=lora,
        loss=loss,
        given_checkpoints=places,
    )


def search(
    plan: SearchPlan,
    tune: TuneParams,
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    prepared_clips: Path,
    training_checkpoints: Path,
    studies: Path,
    corpus_description: CorpusDescription,
    embedding_cache: Path,
    embeddings: EmbeddingParams,
) -> tuple[pd.DataFrame, BestTrial]:
    """Runs the study's missing trials, each with an MLflow run; returns the table of all trials, and the best.

    The score of a trial is the highest validation macro F1 of its epochs. A trial that diverges or runs out of memory
    counts as failed, and the search continues. Raises StudyError.
    """
    from trimood.learning.embeddings import EmbeddingCache
    from trimood.learning.experiment import identify_run
    from trimood.learning.search import study as kept
    from trimood.pipelines.tune.side_by_side import run_trials
    from trimood.pipelines.tune.trial import COSTS_ONE_TRIAL, Search
    from trimood.tracking.live import log_now

    decisive = Plan.model_validate(plan.model_dump(include=set(Plan.model_fields)))
    about = {
        **flatten({"settings": plan.settings, "checkpoints": plan.checkpoints}),
        **{f"space {name}": str(dimension) for name, dimension in tune.space.items()},
        "sampler": tune.sampler,
        "pruner": tune.pruner,
        "examples and weights": identify_run(
            plan.experiment, decisive, training=training_examples, validation=validation_examples
        ).digest,
    }
    log_now(tags={"study": plan.study, "tuned": plan.experiment})
    with kept.opened(studies, plan.study, tune, about) as study:
        kept.take_up_interrupted(study)
        missing = tune.trials - len(kept.finished(study))
        log.info("study %s: %d of %d trials are finished", plan.study, tune.trials - missing, tune.trials)
        examples = (training_examples, validation_examples, prepared_clips)
        tags = flatten({"corpus": corpus_description})
        cache = EmbeddingCache(embedding_cache, embeddings.cache_gigabytes)
        search = Search(study, plan, tune.space, *examples, training_checkpoints, cache, tags)
        if missing > 0 and tune.jobs > 1:
            run_trials(search, missing, tune.jobs)
        elif missing > 0:
            study.optimize(search.run, n_trials=missing, catch=COSTS_ONE_TRIAL)
        table = kept.tabulated(study, tune.space)
        best = study.best_trial
        return table, {
            "trial": best.number,
            "validation_macro_f1": float(best.value or 0),
            "finished_trials": len(kept.finished(study)),
            "values": as_set(best.params, tune.space),
        }


def write_best(plan: SearchPlan, best: BestTrial) -> str:
    """Returns the best trial as an experiment's file for conf/base/experiments/."""
    name = f"{plan.experiment}_tuned"
    content = yaml.safe_dump(
        {name: with_changes(plan.own, best["values"])}, sort_keys=False, default_flow_style=None, width=110
    )
    return (
        f"# {name} - how good is {plan.experiment} with the values that a search has found?\n"
        f"# kedro run --pipelines={name}\n"
        f"# Trial {best['trial']} of {best['finished_trials']} of the study {plan.study}: "
        f"macro F1 {best['validation_macro_f1']:.3f} on validation, on which it was chosen.\n{content}"
    )


def draw_search(plan: SearchPlan, studies: Path, trials: pd.DataFrame):  # type: ignore[no-untyped-def]
    """Draws Optuna's plots of the study's history and parameter importances, as matplotlib Figures."""
    import optuna
    from matplotlib import pyplot
    from optuna.exceptions import ExperimentalWarning
    from optuna.visualization import matplotlib as pictures

    study = optuna.load_study(study_name=plan.study, storage=f"sqlite:///{studies / 'optuna.db'}")
    figures = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # all of Optuna's matplotlib plots are experimental
        for draw in (pictures.plot_optimization_history, pictures.plot_param_importances):
            if draw is pictures.plot_param_importances and trials["macro_f1"].nunique() < 2:
                figure = pyplot.figure()
                figure.text(0.5, 0.5, "needs two trials with different scores", ha="center")
            else:
                draw(study)
                figure = pyplot.gcf()
                figure.set_layout_engine("constrained")
            pyplot.close(figure)
            figures.append(figure)
    return tuple(figures)
