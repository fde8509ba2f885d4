"""One trial of a search: a training with other values, judged on validation, in an MLflow run of its own."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
import torch

from trimood.learning.experiment import Trained, fingerprint, plan_experiment, remove_checkpoints, train_experiment
from trimood.learning.trainer import TrainingDiverged
from trimood.mlflow_store import flat_plan, log_live, run_beside
from trimood.parameters import LoraParams, TrainingParams
from trimood.pipelines.tuning.space import SpaceError, drawn, settings_with
from trimood.pipelines.tuning.study import ENDED, RUN, with_same_values
from trimood.scoring.metrics import summary_scores
from trimood.search import Dimension

log = logging.getLogger(__name__)

OBJECTIVE = "validation/macro_f1"


@dataclass(frozen=True)
class Search:
    """What all trials of a search share; there is no test example in it."""

    study: optuna.Study
    plan: Mapping[str, Any]
    space: Mapping[str, Dimension]
    training_examples: pd.DataFrame
    validation_examples: pd.DataFrame
    prepared_clips: Path
    training_checkpoints: Path
    tags: Mapping[str, Any]

    @staticmethod
    def costs_one_trial() -> tuple[type[Exception], ...]:
        """Errors that its values are to blame for: they exclude each other, steps or batches are too large."""
        return SpaceError, TrainingDiverged, torch.OutOfMemoryError

    def run(self, trial: optuna.Trial) -> float:
        """Best macro F1 on validation; that of an earlier trial, and no training, where the values are the same."""
        values = drawn(trial, self.space)
        if same := with_same_values(self.study, trial):
            trial.set_user_attr("same_as", same.number)
            trial.set_user_attr(ENDED, True)
            return float(same.value or 0)
        name = self.study.study_name
        tags = {"study": name, "trial": trial.number, "tuned": self.plan["experiment"], **self.tags}
        stopped = None
        try:
            with run_beside(f"{name} trial {trial.number}", tags) as run:
                if run:
                    trial.set_user_attr(RUN, run)
                try:
                    best = self._train(trial, values, run)
                except optuna.TrialPruned as error:  # which is no failure of the run
                    stopped = error
        except self.costs_one_trial() as error:
            trial.set_user_attr(ENDED, True)
            log.error("trial %d failed: %s", trial.number, error)
            raise
        trial.set_user_attr(ENDED, True)
        if stopped:
            log.info("trial %d stopped early: below the median of the earlier ones", trial.number)
            raise stopped
        words = ", ".join(f"{parameter} {value}" for parameter, value in values.items())
        log.info("trial %d: macro F1 %.3f on validation with %s", trial.number, best, words)
        return best

    def _train(self, trial: optuna.Trial, values: dict[str, Any], run: str | None) -> float:
        training = TrainingParams.model_validate(self.plan["training"])
        lora = LoraParams.model_validate(self.plan["lora"])
        settings = settings_with(self.plan["own"], training, lora, values)
        planned = plan_experiment(settings, **self.plan["given_checkpoints"])
        if run:
            mlflow.log_params(flat_plan(planned))
            mlflow.set_tag("seed", settings["training"]["seed"])

        def report(numbers: dict[str, float], step: int) -> None:
            log_live(numbers, step)
            if OBJECTIVE in numbers:
                trial.report(numbers[OBJECTIVE], step)
                if trial.should_prune():
                    if run:
                        mlflow.set_tag("pruned", "true")
                    raise optuna.TrialPruned

        trained = self._fit(planned, report)
        best: dict[str, float] = max(trained.fitted.history, key=lambda row: row[OBJECTIVE])
        trial.set_user_attr("best_epoch", round(best["epoch"]))
        if run:
            mlflow.log_metrics({name: value for name, value in best.items() if name.startswith("validation/")})
            mlflow.log_metrics({"cost/seconds": trained.seconds, "cost/peak_memory_gib": trained.peak_memory_gib})
        return best[OBJECTIVE]

    def _fit(self, planned: dict[str, Any], report: Any) -> Trained:
        """Checkpoints stay for a trial that is interrupted, and for no other: what counts is the figure."""
        examples = (self.training_examples, self.validation_examples)
        folder = self.training_checkpoints / fingerprint(planned, *examples)
        try:
            trained = train_experiment(
                planned, *examples, self.prepared_clips, self.training_checkpoints, summary_scores, report
            )
        except (optuna.TrialPruned, SpaceError, TrainingDiverged, torch.OutOfMemoryError):
            remove_checkpoints(folder)
            raise
        remove_checkpoints(folder)
        return trained
