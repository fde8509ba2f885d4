"""The schema of one compared system: an experiment (one trained model per seed), or a reference of `scoring.baselines`.

Scores are means over a system's seeds, from 0 to 1; differences and drops of scores are from -1 to 1.
"""

from pydantic import BaseModel, ConfigDict

from trimood.emotions import EMOTIONS
from trimood.scoring.calibration import CalibrationScores
from trimood.scoring.intervals import Difference


class Stored(BaseModel):
    """Immutable; rejects a stored file with missing or unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Score(Stored):
    """The mean over seeds with its interval, each seed's score, and their standard deviation (None for one seed)."""

    value: float
    low: float
    high: float
    sd_over_seeds: float | None
    of_seeds: tuple[float, ...]


class ReliabilityBin(Stored):
    """The utterances whose confidence is in (lower, upper], their mean confidence and their accuracy."""

    lower: float
    upper: float
    utterances: int
    confidence: float
    accuracy: float


class PooledCalibration(CalibrationScores):
    """Means over seeds of the test scores, and the reliability curve of the predictions of all seeds."""

    reliability: tuple[ReliabilityBin, ...]


class SystemCalibration(Stored):
    """Test scores before and after each seed's temperature, which is fitted on the validation split.

    `not_fitted` has, for each seed whose temperature is 1 because it cannot be fitted, the reason.
    """

    temperature: float
    temperature_of_seeds: tuple[float, ...]
    not_fitted: dict[int, str] = {}
    before: PooledCalibration
    after: PooledCalibration


class CurvePoint(Stored):
    """Macro F1 at the end of an epoch, as means over seeds; None if no seed has a training score for this epoch."""

    epoch: float
    train: float | None
    validation: float
    gap: float | None


class AblationRow(Stored):
    """The drops of test scores with a modality blanked or shuffled, as means over seeds."""

    modality: str
    change: str
    macro_f1_drop: float
    f1_drops: dict[str, float]


class Training(Stored):
    """The shared settings of an experiment's runs, and their mean cost; None if no run has measured it.

    `run_ids` are MLflow's, in the order of the system's seeds. `imported`: the weights were trained elsewhere.
    """

    run_ids: tuple[str, ...]
    imported: bool = False
    modalities: str
    train: str
    head: str
    head_kind: str = "linear"
    lora_targets: str | None
    trainable_parameters: int
    seconds: float | None
    peak_memory_gib: float | None


class System(Stored):
    """One system: its scores, their difference to the baseline, and how it was trained.

    `confusion_matrix` [true, predicted] is the sum over seeds. `never_predicted` is the number of seeds that never
    predict an emotion, without zeros. `difference` is None for the baseline, and `calibration` for a system whose
    probabilities are all 0 or 1. For a reference, `training` is None and `curves` and `modality_ablation` are empty.
    """

    seeds: tuple[int, ...]
    validation_macro_f1: float
    macro_f1: Score
    weighted_f1: Score
    difference: Difference | None
    f1_of_classes: dict[str, float]
    confusion_matrix: tuple[tuple[int, ...], ...]
    never_predicted: dict[str, int]
    calibration: SystemCalibration | None
    training: Training | None
    curves: tuple[CurvePoint, ...]
    modality_ablation: tuple[AblationRow, ...]

    @property
    def tested_emotions(self) -> list[str]:
        """The emotions that a test utterance has; of others, a system cannot show whether it recognises them."""
        return [emotion for emotion, row in zip(EMOTIONS, self.confusion_matrix, strict=True) if sum(row)]
