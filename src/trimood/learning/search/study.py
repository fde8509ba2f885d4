"""An Optuna study that is stored in a file and can be resumed, but only with the same search."""

import fcntl
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import optuna
import pandas as pd
from optuna import Study, Trial
from optuna.trial import FrozenTrial, TrialState

from trimood.config.parameters import Dimension, TuneParams, flatten
from trimood.learning.search.space import StudyError, as_set

log = logging.getLogger(__name__)

ABOUT = "about"
"""Attribute of a study: all values that affect the scores of its trials."""
ENDED = "ended"
"""Attribute of a trial: its own values made it fail, so that it was not interrupted."""
GOES_ON = "goes_on_with"
"""Attribute of a trial: the number of the interrupted trial whose settings it repeats."""
RUN = "mlflow_run"
"""Attribute of a trial: the id of its MLflow run."""


@contextmanager
def opened(folder: Path, name: str, tune: TuneParams, about: Mapping[str, object]) -> Iterator[Study]:
    """Opens the study of this name in `folder`/optuna.db, or creates it, and locks it against other commands.

    Raises StudyError if the study belongs to another search or is in use by another command.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with (folder / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                f"the study {name} is in use by another command. Wait until it has ended, or use another name: "
                "--params tune.study=NAME"
            ) from None
        study = optuna.create_study(
            storage=f"sqlite:///{folder / 'optuna.db'}", study_name=name, direction="maximize", load_if_exists=True
        )
        _refuse_another_search(study, about)
        begun = len(study.trials)
        # With the same seed, the sampler of a resumed study would draw the same values again.
        sampler = optuna.samplers.TPESampler if tune.sampler == "tpe" else optuna.samplers.RandomSampler
        study.sampler = sampler(seed=tune.seed + begun)
        study.pruner = optuna.pruners.NopPruner() if tune.pruner == "none" else optuna.pruners.MedianPruner()
        yield study
        study._storage.remove_session()


def _refuse_another_search(study: Study, about: Mapping[str, object]) -> None:
    known = study.user_attrs.get(ABOUT)
    if known is None:
        study.set_user_attr(ABOUT, dict(about))
    elif different := [key for key in {**known, **about} if known.get(key) != about.get(key)]:
        named = [f"\n  - {key}: {known.get(key, 'none')}, now {about.get(key, 'none')}" for key in sorted(different)]
        raise StudyError(
            f"the study {study.study_name} was begun with other values, so its trials are not comparable:"
            f"{''.join(named)}\nUse the earlier values, or begin another study: --params tune.study=NAME"
        )


def take_up_interrupted(study: Study) -> None:
    """Marks interrupted trials as failed, and queues their settings, to continue from the last finished epoch."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
    taken_up = {trial.user_attrs.get(GOES_ON) for trial in study.trials}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
        if trial.params and ENDED not in trial.user_attrs and trial.number not in taken_up:
            log.info("trial %d was interrupted: its settings are repeated", trial.number)
            study.enqueue_trial(trial.params, user_attrs={GOES_ON: trial.number})


def finished(study: Study) -> list[FrozenTrial]:
    """Returns the trials that have a score or were pruned."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def drawn(trial: Trial, space: Mapping[str, Dimension]) -> dict[str, object]:
    """Draws the trial's values, by parameter name."""
    values: dict[str, object] = {}
    for parameter, dimension in space.items():
        low, high = dimension.low, dimension.high
        if low is None or high is None:
            words = {json.dumps(choice): choice for choice in dimension.choices}
            values[parameter] = words[trial.suggest_categorical(parameter, list(words))]
        elif isinstance(low, int) and isinstance(high, int):
            values[parameter] = trial.suggest_int(parameter, low, high, log=dimension.log)
        else:
            values[parameter] = trial.suggest_float(parameter, low, high, log=dimension.log)
    return values


def tabulated(study: Study, space: Mapping[str, Dimension]) -> pd.DataFrame:
    """Returns a row for each trial: outcome, macro F1 on validation, values.

    `same_as` is the number of an earlier trial with the same values, `goes_on_with` that of the interrupted trial that
    it repeats. Raises StudyError if no trial has a score.
    """
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise StudyError(
            f"the study {study.study_name}: none of its {len(study.trials)} trials has a score; the log shows why. "
            "Narrow tune.space and begin another study: --params tune.study=NAME"
        )
    words = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "stopped early", TrialState.FAIL: "failed"}
    attributes = ("best_epoch", "same_as", GOES_ON, RUN)
    rows = [
        {
            "trial": trial.number,
            "state": words.get(trial.state, trial.state.name.lower()),
            "macro_f1": trial.value if trial.state == TrialState.COMPLETE else None,
            **flatten(as_set(trial.params, space)),
            **{name: trial.user_attrs.get(name) for name in attributes},
            "seconds": trial.duration.total_seconds() if trial.duration else None,
        }
        for trial in study.get_trials(deepcopy=False)
        if trial.state.is_finished()
    ]
    return pd.DataFrame(rows)
