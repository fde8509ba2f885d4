"""An Optuna study that outlives the command: kept in a file, gone on with, and never a mixture of two searches."""

import fcntl
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from trimood.config.parameters import Dimension, TuneParams, flatten
from trimood.learning.search.space import as_set

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

ABOUT = "about"
"""Study's attribute: all that decides what a trial's figure means."""
ENDED = "ended"
"""Trial's attribute: it came to its end, be it a good or a bad one."""
GOES_ON = "goes_on_with"
"""Trial's attribute: the number of the interrupted trial whose settings it takes up."""
RUN = "mlflow_run"
"""Trial's attribute: the id of its MLflow run."""


class StudyError(Exception):
    """A study that cannot be gone on with, or of which nothing came."""


@contextmanager
def opened(folder: Path, name: str, tune: TuneParams, about: Mapping[str, Any]) -> Iterator["Study"]:
    """The study of this name in `folder`/optuna.db, made where there is none; one command at a time has it.

    Raises StudyError where it is of another search, or another command has it.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with (folder / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StudyError(
                f"the study {name} is being run by another command. Wait for it, or give this one another name: "
                "--params tune.study=NAME"
            ) from None
        study = optuna.create_study(
            storage=f"sqlite:///{folder / 'optuna.db'}", study_name=name, direction="maximize", load_if_exists=True
        )
        _refuse_another_search(study, about)
        begun = len(study.trials)
        # A sampler that is seeded anew would draw again what it drew at first.
        study.sampler = {
            "tpe": lambda: optuna.samplers.TPESampler(seed=tune.seed + begun),
            "random": lambda: optuna.samplers.RandomSampler(seed=tune.seed + begun),
        }[tune.sampler]()
        study.pruner = {"none": optuna.pruners.NopPruner, "median": optuna.pruners.MedianPruner}[tune.pruner]()
        yield study
        study._storage.remove_session()


def _refuse_another_search(study: "Study", about: Mapping[str, Any]) -> None:
    known = study.user_attrs.get(ABOUT)
    if known is None:
        study.set_user_attr(ABOUT, dict(about))
    elif different := [key for key in {**known, **about} if known.get(key) != about.get(key)]:
        named = "".join(
            f"\n  - {key}: {known.get(key, 'none')}, now {about.get(key, 'none')}" for key in sorted(different)
        )
        raise StudyError(
            f"the study {study.study_name} was begun with other values, so its trials are not comparable:{named}\n"
            "Set them as they were, or begin another study: --params tune.study=NAME"
        )


def take_up_interrupted(study: "Study", end_run: Callable[[str], None]) -> None:
    """Marks trials that died as failed, and lets their settings be tried first, from their last finished epoch."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if run := trial.user_attrs.get(RUN):
            end_run(run)
    taken_up = {trial.user_attrs.get(GOES_ON) for trial in study.trials}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,)):
        if trial.params and ENDED not in trial.user_attrs and trial.number not in taken_up:
            log.info("trial %d was interrupted: its settings are tried again", trial.number)
            study.enqueue_trial(trial.params, user_attrs={GOES_ON: trial.number})


def finished(study: "Study") -> list["FrozenTrial"]:
    """Trials that count: with a figure, or stopped as hopeless."""
    from optuna.trial import TrialState

    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def with_same_values(study: "Study", trial: Any) -> "FrozenTrial | None":
    """An earlier trial that has a figure for the very same values."""
    from optuna.trial import TrialState

    earlier = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return next((other for other in earlier if other.params == trial.params), None)


def tabulated(study: "Study", space: Mapping[str, Dimension]) -> pd.DataFrame:
    """A row for each trial: what became of it, macro F1 on validation, its values. StudyError where none has a figure.

    `same_as` and `goes_on_with` name other trials: the earlier one of the same values, the interrupted one.
    """
    from optuna.trial import TrialState

    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        raise StudyError(
            f"the study {study.study_name}: none of its {len(study.trials)} trials has a figure; the log says why. "
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
