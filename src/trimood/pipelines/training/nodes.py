"""Nodes of the training stage."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.emotions import EMOTIONS
from trimood.mlflow_store import log_live
from trimood.parameters import ExperimentParams, LoraParams, TrainingParams, resolve

log = logging.getLogger(__name__)


def plan(
    experiment: ExperimentParams,
    training: TrainingParams,
    lora: LoraParams,
    video_checkpoint: str,
    audio_checkpoint: str,
) -> dict[str, Any]:
    """What the experiment will do: resolved settings, checkpoints, trainable and all parameters per tower.

    Raises CheckpointError or AdapterError.
    """
    from trimood.learning.experiment import plan_experiment

    settings = resolve(experiment, training, lora).model_dump(mode="json")
    planned = plan_experiment(settings, video_checkpoint, audio_checkpoint)
    for tower, row in planned["parameters"].items():
        log.info(
            "%-6s %12s of %12s parameters trained (%.2f %%)",
            tower,
            f"{row['trainable']:,}",
            f"{row['all']:,}",
            100 * row["trainable_share"],
        )
    return planned


def train(
    plan: dict[str, Any],
    training_examples: pd.DataFrame,
    validation_examples: pd.DataFrame,
    prepared_clips: Path,
    training_checkpoints: Path,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Trained tensors of the best epoch (by validation macro F1) and of the last one, and the curves.

    An interrupted training goes on from its last epoch when it is started again with the same plan and examples; one
    whose results could not be stored gives them again.
    """
    from trimood.learning.experiment import train_experiment
    from trimood.scoring.metrics import summary_scores

    trained = train_experiment(
        plan,
        training_examples,
        validation_examples,
        prepared_clips,
        training_checkpoints,
        summary_scores,
        log_live,
    )
    cost = {"seconds": trained.seconds, "peak_memory_gib": trained.peak_memory_gib}
    log_live({f"cost/{name}": value for name, value in cost.items()}, 0)
    about = {"emotions": list(EMOTIONS), "settings": plan["settings"], "checkpoints": plan["checkpoints"]}
    return (
        {"tensors": trained.fitted.best, "about": {**about, "epoch": "best"}},
        {"tensors": trained.fitted.last, "about": {**about, "epoch": "last"}},
        {"epochs": trained.fitted.history, **cost, "checkpoints": trained.folder.name},
    )


def remove_checkpoints(history: dict[str, Any], training_checkpoints: Path) -> None:
    """Frees the disk of what an interrupted training would need, once this one's results are stored."""
    from trimood.learning import experiment

    experiment.remove_checkpoints(training_checkpoints / history["checkpoints"])
