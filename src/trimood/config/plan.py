"""The plan of an experiment, which is made before anything is loaded or trained."""

from trimood.config.experiment_settings import CROSS_ENTROPY, LoraParams, LossParams, Settings, TrainingParams
from trimood.config.parameters import Parameters, Reader, Stereo
from trimood.emotions import Source


class ParameterCount(Parameters):
    """Trainable and all parameters of one part of the model, and their ratio, rounded to six digits."""

    trainable: int
    all: int
    trainable_share: float


class Plan(Parameters):
    """The resolved experiment that training, evaluation, prediction and MLflow use; stored with the weights.

    `checkpoints`: a folder or hub name for each checkpoint in use. `parameters`: counts by tower (video, audio, text),
    for the head, and for "all". `reader` reads the frames of all clips, including those predicted later; `stereo` says
    what is heard of them.
    """

    title: str
    settings: Settings
    checkpoints: dict[Source, str]
    parameters: dict[str, ParameterCount]
    reader: Reader
    stereo: Stereo = "mean"


class SearchPlan(Plan):
    """The plan of a search: the plan of the experiment, and the inputs from which a trial's settings are resolved.

    `own`: the content of the experiment's file; `training`, `lora`, `loss`: the shared values; `given_checkpoints`:
    all checkpoints, because a trial may use other modalities than the experiment.
    """

    experiment: str
    study: str
    own: dict[str, object]
    training: TrainingParams
    lora: LoraParams
    loss: LossParams = CROSS_ENTROPY
    given_checkpoints: dict[Source, str]


class ExampleFingerprints(Parameters):
    """`model.stored.examples_fingerprint` of each table of examples.

    A search has no test examples, and weights that were trained elsewhere have no training examples.
    """

    training: str = ""
    validation: str
    test: str = ""
