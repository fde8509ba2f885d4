"""One trial of a search: a training with other values, scored on validation, in its own MLflow run."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import optuna
import pandas as pd
import torch

from trimood.config.parameters import Dimension
from trimood.config.plan import Plan, SearchPlan
from trimood.learning.experiment import (
    TrainingOutcome,
    identify_run,
    plan_experiment,
    remove_checkpoints,
    train_experiment,
)
from trimood.learning.search.space import SpaceError, drawn, settings_with
from trimood.learning.search.study import ENDED, RUN, with_same_values
from trimood.learning.trainer import ReportFunction, ScoreFunction, TrainingDiverged

log = logging.getLogger(__name__)

OBJECTIVE = "validation/macro_f1"


class TrackedTrial(Protocol):
    """Logs one trial; `run` is the id of its run, None if nothing is tracked."""

    run: str | None

    def log_plan(self, plan: Plan) -> None:
        """Logs the trial's settings."""

    def log_live(self, numbers: Mapping[str, float], step: int) -> None:
        """Logs numbers during training."""

    def log_pruned(self) -> None:
        """Logs that the pruner has stopped the trial."""

    def log_outcome(self, numbers: Mapping[str, float]) -> None:
        """Logs the final scores and cost."""


class SearchTracker(Protocol):
    """Tracks the trials of a search."""

    def trial(self, name: str, tags: Mapping[str, Any]) -> AbstractContextManager[TrackedTrial]:
        """Opens a trial's run, and closes it with the status of the block."""

    def end_interrupted(self, run: str) -> None:
        """Closes the run of a trial whose process died."""


@dataclass(frozen=True)
class Search:
    """The inputs that all trials of a search share; contains no test examples."""

    study: optuna.Study
    plan: SearchPlan
    space: Mapping[str, Dimension]
    training_examples: pd.DataFrame
    validation_examples: pd.DataFrame
    prepared_clips: Path
    training_checkpoints: Path
    tags: Mapping[str, Any]
    score: ScoreFunction
    tracker: SearchTracker

    @staticmethod
    def costs_one_trial() -> tuple[type[Exception], ...]:
        """Errors that are caused by a trial's values, such as too large steps or batches, and fail only this trial."""
        return SpaceError, TrainingDiverged, torch.OutOfMemoryError

    def run(self, trial: optuna.Trial) -> float:
        """Returns the best macro F1 on validation; takes it from an earlier trial if that had the same values."""
        values = drawn(trial, self.space)
        if same := with_same_values(self.study, trial):
            trial.set_user_attr("same_as", same.number)
            trial.set_user_attr(ENDED, True)
            return float(same.value or 0)
        name = self.study.study_name
        tags = {"study": name, "trial": trial.number, "tuned": self.plan.experiment, **self.tags}
        stopped = None
        try:
            with self.tracker.trial(f"{name} trial {trial.number}", tags) as tracked:
                if tracked.run:
                    trial.set_user_attr(RUN, tracked.run)
                try:
                    best = self._train(trial, values, tracked)
                except optuna.TrialPruned as error:  # must not mark the run as failed
                    stopped = error
        except self.costs_one_trial() as error:
            trial.set_user_attr(ENDED, True)
            log.error("trial %d failed: %s", trial.number, error)
            raise
        trial.set_user_attr(ENDED, True)
        if stopped:
            log.info("trial %d stopped early: below the median of earlier trials", trial.number)
            raise stopped
        words = ", ".join(f"{parameter} {value}" for parameter, value in values.items())
        log.info("trial %d: macro F1 %.3f on validation with %s", trial.number, best, words)
        return best

    def _train(self, trial: optuna.Trial, values: dict[str, object], tracked: TrackedTrial) -> float:
        settings = settings_with(self.plan.own, self.plan.training, self.plan.lora, values)
        given = self.plan.given_checkpoints
        planned = plan_experiment(settings, given["video"], given["audio"], self.plan.reader)
        tracked.log_plan(planned)

        def report(numbers: dict[str, float], step: int) -> None:
            tracked.log_live(numbers, step)
            if OBJECTIVE in numbers:
                trial.report(numbers[OBJECTIVE], step)
                if trial.should_prune():
                    tracked.log_pruned()
                    raise optuna.TrialPruned

        trained = self._fit(planned, report)
        best: dict[str, float] = max(trained.fitted.history, key=lambda row: row[OBJECTIVE])
        trial.set_user_attr("best_epoch", round(best["epoch"]))
        scores = {name: value for name, value in best.items() if name.startswith("validation/")}
        cost = {"cost/seconds": trained.seconds, "cost/peak_memory_gib": trained.peak_memory_gib}
        tracked.log_outcome({**scores, **cost})
        return best[OBJECTIVE]

    def _fit(self, planned: Plan, report: ReportFunction) -> TrainingOutcome:
        """Trains, and removes the checkpoints unless the trial is interrupted: only the score is kept."""
        examples = (self.training_examples, self.validation_examples)
        identity = identify_run(planned, training=examples[0], validation=examples[1])
        folder = self.training_checkpoints / identity.digest
        try:
            trained = train_experiment(
                identity, *examples, self.prepared_clips, self.training_checkpoints, self.score, report
            )
        except (optuna.TrialPruned, SpaceError, TrainingDiverged, torch.OutOfMemoryError):
            remove_checkpoints(folder)
            raise
        remove_checkpoints(folder)
        return trained
