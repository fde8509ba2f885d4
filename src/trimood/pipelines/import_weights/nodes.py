"""Nodes of the import stage."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.config.experiment_settings import ExperimentParams, LoraParams, LossParams, TrainingParams, resolve
from trimood.config.parameters import ClipParams
from trimood.config.plan import Plan
from trimood.corpus.preparation import refuse_without_clips
from trimood.emotions import Source
from trimood.model.config import CheckpointError
from trimood.model.stored import AboutWeights, Imported, RunIdentity, TrainedWeights
from trimood.model.stored import read_weights as read_stored

log = logging.getLogger(__name__)


class CannotImport(Exception):
    """No weights are named, or a trained experiment is in their place."""


def plan(
    experiment: str,
    parameters: Mapping[str, Any],
    training: TrainingParams,
    lora: LoraParams,
    loss: LossParams,
    clips: ClipParams,
    video_checkpoint: str,
    audio_checkpoint: str,
    text_tower: str,
    weights: str,
    models: Path,
) -> Plan:
    """Plans the experiment as if it were trained here, before anything is stored.

    Raises CannotImport if no weights are named, or if the experiment has been trained here; CheckpointError,
    AdapterError or DeviceError if it cannot be planned.
    """
    from trimood.learning.experiment import plan_experiment

    if not weights:
        raise CannotImport(
            "weights: nothing is given. Give a folder or a name on the Hugging Face hub: kedro run "
            f"--pipelines=import_weights --params experiment={experiment},weights=FOLDER-OR-HUB-NAME"
        )
    if earlier := _refuse_trained(experiment, models):
        log.info("the weights of %s imported from %s are replaced", experiment, earlier.source)
    own = ExperimentParams.model_validate(parameters[experiment])
    settings = resolve(own, training, lora, loss)
    refuse_without_clips(settings, clips)
    places: Mapping[Source, str] = {"video": video_checkpoint, "audio": audio_checkpoint, "text": text_tower}
    return plan_experiment(settings, places, clips.reader, clips.stereo)


def read_weights(plan: Plan, weights: str) -> tuple[Mapping[str, Any], Imported]:
    """Returns the trained tensors of a folder or hub name, and their origin.

    Raises CheckpointError if the weights do not belong to the plan and its checkpoints.
    """
    from trimood.learning.experiment import import_published

    return import_published(weights, plan)


def identify(
    experiment: str,
    plan: Plan,
    origin: Imported,
    validation_examples: pd.DataFrame,
    test_examples: pd.DataFrame,
) -> RunIdentity:
    """Returns the identity of the imported weights, which differs from that of every training."""
    from trimood.learning.experiment import identify_run

    return identify_run(experiment, plan, origin, validation=validation_examples, test=test_examples)


def store(identity: RunIdentity, tensors: Mapping[str, Any], models: Path) -> tuple[TrainedWeights, dict[str, object]]:
    """Returns the weights with their identity, and a history without epochs, as none was trained here.

    Raises CannotImport as `plan`, for a command that starts after it.
    """
    from trimood.model.trained import weights_fingerprint

    _refuse_trained(identity.experiment, models)
    about = AboutWeights(identity=identity, epoch="best", fingerprint=weights_fingerprint(tensors))
    return TrainedWeights(about, tensors), {"epochs": [], "seconds": 0.0, "peak_memory_gib": 0.0}


def _refuse_trained(experiment: str, models: Path) -> Imported | None:
    """Returns the origin of the experiment's weights if they were imported, too; raises CannotImport for others."""
    path = models / experiment / "best.safetensors"
    if not path.is_file():
        return None
    try:
        origin = read_stored(path).about.identity.imported
    except CheckpointError as error:  # damaged, or of another version
        raise CannotImport(
            f"{path}: cannot be read, so it may be a training of {experiment} and is not replaced ({error}). Move the "
            f"folder {path.parent} away, or import into another place: --params data_root=FOLDER"
        ) from error
    if origin is None:
        raise CannotImport(
            f"{path}: {experiment} has been trained here, and its weights are not replaced by imported ones. Move the "
            f"folder {path.parent} away, or import into another place: --params data_root=FOLDER"
        )
    return origin
