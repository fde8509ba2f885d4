"""Compared systems with scores as they are given, comparisons of them, and the runs that are compared."""

from typing import Any

import pandas as pd

from trimood.config.parameters import CompareParams
from trimood.emotions import EMOTIONS
from trimood.scoring.comparison import Comparison
from trimood.scoring.intervals import Difference, Estimate, Needed, Outcome
from trimood.scoring.systems import Score, System, Training
from trimood.scoring.verdict import Verdict


def made_system(score: float, seeds: tuple[int, ...] = (1, 2), **training: Any) -> System:
    """A system with this macro F1 on each seed and on validation; a reference, if nothing is said of its training.

    Its confusion matrix has each emotion once, rightly predicted.
    """
    macro_f1 = Score(value=score, low=score - 0.1, high=score + 0.1, sd_over_seeds=0.01, of_seeds=(score,) * len(seeds))
    cost: dict[str, Any] = {"lora_targets": None, "trainable_parameters": 1, "seconds": None, "peak_memory_gib": None}
    run_ids = tuple(f"run-{seed}" for seed in seeds)
    return System(
        seeds=seeds,
        validation_macro_f1=score,
        macro_f1=macro_f1,
        weighted_f1=macro_f1,
        difference=None,
        f1_of_classes=dict.fromkeys(EMOTIONS, score),
        confusion_matrix=tuple(tuple(int(true == predicted) for predicted in range(7)) for true in range(7)),
        never_predicted={},
        calibration=None,
        training=Training(run_ids=run_ids, **training, **cost) if training else None,
        curves=(),
        modality_ablation=(),
    )


HEAD = {"train": "head", "head": "trained"}
"""How the experiments of `made_comparison` are trained."""


def made_difference(value: float, outcome: Outcome) -> Difference:
    """A difference with an interval of 0.1 to both sides."""
    return Difference(Estimate(value, value - 0.1, value + 0.1, 0.04), 0.05, outcome)


def made_comparison(
    best: System,
    others: dict[str, System] | None = None,
    outcomes: dict[str, Outcome] | None = None,
    settled_by: Needed | None = None,
    **changed: Any,
) -> Comparison:
    """exp4, which is the best, beside others, the first of which is the runner-up, and the four references.

    `outcomes`: of exp4 minus others, "better" unless given.
    """
    references = {"all neutral": 0.08, "majority": 0.09, "TF-IDF": 0.3, "TF-IDF sqrt": 0.31}
    others = others or {}
    systems = {"exp4": best, **others, **{name: made_system(of) for name, of in references.items()}}
    differences = {
        name: made_difference(best.macro_f1.value - of.macro_f1.value, (outcomes or {}).get(name, "better"))
        for name, of in systems.items()
        if name != "exp4"
    }
    whole: dict[str, Any] = {
        "settings": CompareParams(baseline="exp4", resamples=100, confidence=0.95, seed=0, runs=()),
        "test_utterances": 300,
        "test_conversations": 44,
        "systems": systems,
        "verdict": Verdict(
            best="exp4", runner_up=next(iter(others), None), differences=differences, settled_by=settled_by
        ),
        "published": (),
    }
    return Comparison(**{**whole, **changed})


def made_run(experiment: str, seed: int) -> dict[str, Any]:
    """A row of `mlflow.search_runs`: a finished training."""
    return {
        "run_id": f"{experiment}-{seed}",
        "status": "FINISHED",
        "start_time": pd.Timestamp("2026-01-01", tz="UTC"),
        "tags.experiment": experiment,
        "tags.corpus.train.sha256": "0a1b2c3d4e5f",
        "tags.corpus.official_test.sha256": "None",
        "params.data.split.seed": "42",
        "params.checkpoint.video": "LanguageBind/Video",
        "params.training.seed": str(seed),
        "params.modalities": "text+video",
        "params.train": "head",
        "params.head": "trained",
        "params.parameters.all.trainable": "10752",
        "metrics.test/macro_f1": 0.5,
        "metrics.validation/macro_f1": 0.5,
        "metrics.training cost/seconds": 10.0 * seed,
        "metrics.cost/peak_memory_gib": 1.5,
    }
