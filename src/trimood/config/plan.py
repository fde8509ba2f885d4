"""The plan of an experiment: what its settings resolve to, before anything is loaded or trained."""

from pydantic import BaseModel, ConfigDict

from trimood.config.parameters import LoraParams, Reader, Settings, TrainingParams
from trimood.emotions import Source


class ParameterCount(BaseModel):
    """Trainable and all parameters of one part of the model, and their ratio, rounded to six digits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trainable: int
    all: int
    trainable_share: float


class Plan(BaseModel):
    """One experiment, resolved: what training, evaluation, MLflow, the stored weights and prediction read.

    `checkpoints` holds a folder or a hub name for each checkpoint that is used. `parameters` counts by tower (video,
    audio, text), for the head, and for "all". `reader` reads the frames of all clips, also of those predicted later.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    settings: Settings
    checkpoints: dict[Source, str]
    parameters: dict[str, ParameterCount]
    reader: Reader


class SearchPlan(Plan):
    """The plan of a search: the experiment as it is, and what is needed to change its settings for a trial.

    `own` is what the experiment's file states; `training` and `lora` are the shared blocks below it;
    `given_checkpoints` are both checkpoints, as a trial may use other modalities than the experiment.
    """

    experiment: str
    study: str
    own: dict[str, object]
    training: TrainingParams
    lora: LoraParams
    given_checkpoints: dict[Source, str]


class ExampleFingerprints(BaseModel):
    """Which training, validation and test examples a model belongs to: 12 hexadecimal digits for each table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    training: str
    validation: str
    test: str
