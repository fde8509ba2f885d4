"""Finds a trained model by name: an experiment of this project, an MLflow run, or a registered model."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trimood.config.checks import without_passwords
from trimood.config.plan import Plan
from trimood.emotions import MODALITIES, Modality
from trimood.media.recipes import Recipe
from trimood.model.checkpoints import check_checkpoints, clip_recipe
from trimood.model.config import CheckpointError
from trimood.model.stored import TrainedWeights, read_weights

WEIGHTS, CALIBRATION = "best.safetensors", "calibration.json"
"""The file names of a model, in the folder of an experiment and as artifacts of an MLflow model."""

_RUN_ID = re.compile(r"[0-9a-f]{32}")


class ModelError(Exception):
    """A model does not exist, or a part of it is missing."""

    def __init__(self, message: str) -> None:
        super().__init__(without_passwords(message))  # the page shows it


@dataclass(frozen=True)
class TrainedModel:
    """The trained weights of one experiment with their plan and temperature; messages use `name`.

    The plan is that of the weights, except for checkpoints that were moved.
    """

    name: str
    plan: Plan
    weights: TrainedWeights
    temperature: float

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that the model uses, in the order of MODALITIES."""
        return tuple(modality for modality in MODALITIES if modality in self.plan.settings.modalities)

    @property
    def recipe(self) -> Recipe:
        """How its clips are prepared."""
        return clip_recipe(self.plan.checkpoints, self.plan.reader, self.plan.stereo)

    def check_whole(self) -> None:
        """Reads weights and checkpoints. Raises CheckpointError if they are not those of one training."""
        from trimood.model.trained import weights_fingerprint

        if weights_fingerprint(self.weights.tensors) != self.weights.about.fingerprint:
            raise CheckpointError(
                f"{self.name}: the tensors of its weights are not those that their header describes. Run the "
                "experiment again."
            )
        check_checkpoints(self.plan.checkpoints, self.weights.about.identity.checkpoints, self.name)

    def with_checkpoints(self, others: Mapping[str, str | None]) -> "TrainedModel":
        """Returns the same model with the checkpoint paths in `others`, if given."""
        moved = {source: others.get(source) or own for source, own in self.plan.checkpoints.items()}
        return replace(self, plan=self.plan.model_copy(update={"checkpoints": moved}))


def load_trained(model: str, models: Path) -> TrainedModel:
    """Loads a model by name: an experiment in the folder `models`, a run id, or a `models:/` URI.

    Runs and registered models come from the MLflow store in use. Raises ModelError.
    """
    if is_run(model):
        model = model_of_run(model)
    if model.startswith("models:/"):
        return of_mlflow(model)
    folder = models / model
    if not model or not (folder / WEIGHTS).is_file():
        known = sorted(path.parent.name for path in models.glob(f"*/{WEIGHTS}"))
        raise ModelError(
            f"model={model}: no trained model of this name in {models}; there are: {', '.join(known) or 'none'}. "
            f"Train it (kedro run --pipelines={model or 'exp4'}), or give an MLflow run id or models:/NAME@ALIAS."
        )
    return read_trained(model, folder / WEIGHTS, folder / CALIBRATION)


def is_run(model: str) -> bool:
    """Whether the name of a model is the id of an MLflow run."""
    return bool(_RUN_ID.fullmatch(model))


def model_of_run(run: str) -> str:
    """Returns the URI of the model that a run logged. Raises ModelError."""
    import mlflow

    try:
        outputs = mlflow.MlflowClient().get_run(run).outputs
    except mlflow.exceptions.MlflowException as error:
        raise ModelError(f"model={run}: no such run in MLflow at {mlflow.get_tracking_uri()} ({error}).") from error
    if not outputs or not outputs.model_outputs:
        raise ModelError(f"model={run}: this run logged no model. Give a run that has evaluated an experiment.")
    return f"models:/{outputs.model_outputs[-1].model_id}"


def of_mlflow(uri: str) -> TrainedModel:
    """Downloads an MLflow model from the store in use. Raises ModelError."""
    import mlflow
    from mlflow.models import Model

    try:
        folder = Path(mlflow.artifacts.download_artifacts(uri))
        artifacts = Model.load(str(folder)).flavors["python_function"]["artifacts"]
        weights, calibration = (folder / artifacts[name]["path"] for name in ("weights", "calibration"))
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise ModelError(
            f"model={uri}: MLflow at {mlflow.get_tracking_uri()} has no such model ({error}). A finished experiment "
            "logs one; kedro run --pipelines=register --params model=exp4 gives it a name."
        ) from error
    except KeyError as error:
        raise ModelError(f"model={uri}: this MLflow model was not made here, it has no {error}.") from error
    return read_trained(uri, weights, calibration)


def read_trained(name: str, weights: Path, calibration: Path) -> TrainedModel:
    """Reads both files. Raises ModelError if the calibration is missing or belongs to other weights."""
    try:
        stored = read_weights(weights)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    evaluate = f"Evaluate it: kedro run --pipelines={name} --from-nodes={name}.predict"
    try:
        calibrated = json.loads(calibration.read_text(encoding="utf-8"))
        belongs, temperature = calibrated["weights"] == stored.about.fingerprint, float(calibrated["temperature"])
    except FileNotFoundError:
        raise ModelError(f"{calibration}: no such file, so {name} has no temperature. {evaluate}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{calibration}: not a whole calibration ({type(error).__name__}: {error}). {evaluate}"
        ) from None
    if not belongs:
        raise ModelError(f"{calibration}: it does not belong to the weights in {weights.name} beside it. {evaluate}")
    if not 0 < temperature < math.inf:
        raise ModelError(f"{calibration}: the temperature is {temperature}; it must be above 0. {evaluate}")
    return TrainedModel(name, stored.about.plan, stored, temperature)
