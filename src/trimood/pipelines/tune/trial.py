"""One trial of a search: a training with other values, scored on validation, in its own MLflow run."""

import logging
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import optuna
import pandas as pd

from trimood.config.parameters import Dimension, flatten
from trimood.config.plan import SearchPlan
from trimood.corpus.class_balance import AbsentEmotion, loss_terms
from trimood.learning.device import DeviceError
from trimood.learning.embeddings import EmbeddingCache
from trimood.learning.experiment import (
    TrainingOutcome,
    identify_run,
    plan_experiment,
    remove_checkpoints,
    train_experiment,
)
from trimood.learning.loop import TrainingDiverged
from trimood.learning.processes import ProcessLost
from trimood.learning.search.space import SpaceError, settings_with
from trimood.learning.search.study import ENDED, RUN, drawn
from trimood.model.heads import HeadError
from trimood.model.memory import OutOfMemory
from trimood.scoring.metrics import summary_scores
from trimood.tracking.kinds import flat_plan
from trimood.tracking.live import log_live, log_now, trial_run

log = logging.getLogger(__name__)

OBJECTIVE = "validation/macro_f1"

COSTS_ONE_TRIAL = (
    SpaceError,
    DeviceError,
    HeadError,
    AbsentEmotion,
    TrainingDiverged,
    OutOfMemory,
    ProcessLost,
)
"""Errors that are caused by a trial's values, such as too large steps or batches, and fail only this trial."""


@dataclass(frozen=True)
class Search:
    """The inputs that all trials of a search share; contains no test examples.

    `train`: trains as `train_experiment` does. `turns` and `scores`, by the values of a trial: of trials with the same
    values at the same time, one is trained, and the others take its score.
    """

    study: optuna.Study
    plan: SearchPlan
    space: Mapping[str, Dimension]
    training_examples: pd.DataFrame
    validation_examples: pd.DataFrame
    prepared_clips: Path
    training_checkpoints: Path
    embedding_cache: EmbeddingCache
    tags: Mapping[str, object]
    train: Callable[..., TrainingOutcome] = train_experiment
    turns: dict[str, threading.Lock] = field(default_factory=dict)
    scores: dict[str, tuple[int, float]] = field(default_factory=dict)

    def run(self, trial: optuna.Trial) -> float:
        """Returns the best macro F1 on validation; takes it from an earlier trial if that had the same values."""
        values = drawn(trial, self.space)
        key = repr(sorted(trial.params.items()))
        with self.turns.setdefault(key, threading.Lock()):  # a trial with the same values may be running
            if key not in self.scores:
                earlier = self.study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
                for other in reversed([other for other in earlier if other.params == trial.params]):
                    self.scores[key] = (other.number, float(other.value or 0))
            if key in self.scores:
                number, score = self.scores[key]
                trial.set_user_attr("same_as", number)
                return score
            best = self._run(trial, values)
            self.scores[key] = (trial.number, best)
            return best

    def _run(self, trial: optuna.Trial, values: dict[str, object]) -> float:
        name = self.study.study_name
        tags = {"study": name, "trial": trial.number, "tuned": self.plan.experiment, **self.tags}
        try:
            with trial_run(f"{name} trial {trial.number}", tags) as run:
                if run:
                    trial.set_user_attr(RUN, run)
                best = self._train(trial, values)
        except COSTS_ONE_TRIAL as error:
            trial.set_user_attr(ENDED, True)
            log.error("trial %d failed: %s", trial.number, error)
            raise
        if best is None:  # raised only here, so that it does not mark the run as failed
            log.info("trial %d stopped early: below the median of earlier trials", trial.number)
            raise optuna.TrialPruned
        words = ", ".join(f"{parameter} {value}" for parameter, value in values.items())
        log.info("trial %d: macro F1 %.3f on validation with %s", trial.number, best, words)
        return best

    def _train(self, trial: optuna.Trial, values: dict[str, object]) -> float | None:
        """Returns the best macro F1, or None if the pruner stopped the trial.

        Removes the checkpoints unless the trial is interrupted: only the score is kept.
        """
        settings = settings_with(self.plan.own, self.plan.training, self.plan.lora, self.plan.loss, values)
        planned = plan_experiment(settings, self.plan.given_checkpoints, self.plan.reader, self.plan.stereo)
        terms = loss_terms(settings.loss, self.training_examples["label"]).described()
        log_now(params={**flat_plan(planned), **flatten({"loss": terms})}, tags={"seed": settings.training.seed})

        def report(numbers: dict[str, float], step: int) -> None:
            log_live(numbers, step)
            if OBJECTIVE in numbers:
                trial.report(numbers[OBJECTIVE], step)
                if trial.should_prune():
                    log_now(tags={"pruned": "true"})
                    raise optuna.TrialPruned

        examples = (self.training_examples, self.validation_examples)
        identity = identify_run(self.plan.experiment, planned, training=examples[0], validation=examples[1])
        folder = self.training_checkpoints / identity.digest
        try:
            trained = self.train(
                identity,
                *examples,
                self.prepared_clips,
                self.training_checkpoints,
                self.embedding_cache,
                summary_scores,
                report=report,
            )
        except optuna.TrialPruned:
            remove_checkpoints(folder)
            return None
        except COSTS_ONE_TRIAL:
            remove_checkpoints(folder)
            raise
        remove_checkpoints(folder)
        best: dict[str, float] = max(trained.fitted.history, key=lambda row: row[OBJECTIVE])
        trial.set_user_attr("best_epoch", math.ceil(best["epoch"]))
        scores = {name: value for name, value in best.items() if name.startswith("validation/")}
        cost = {"training cost/seconds": trained.seconds, "training cost/peak_memory_gib": trained.peak_memory_gib}
        log_now({**scores, **cost})
        return best[OBJECTIVE]
