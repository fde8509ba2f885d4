"""Predicts new utterances with a trained model; preparation and model are the same as in evaluation.

The first predictor imports torch and transformers, so that a server answers before it has a model.
"""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trimood.emotions import EMOTIONS, Modality
from trimood.media.execution import Execution
from trimood.media.parts import Location, load_part
from trimood.scoring.calibration import with_temperature
from trimood.serving.preparation import prepare_own
from trimood.serving.trained_model import TrainedModel, load_trained

if TYPE_CHECKING:
    from torch import Tensor

HERE = Execution("serial")
"""Prepares clips in this process without a time limit, which suits one or two clips."""


@dataclass(frozen=True)
class Utterance:
    """A clip, its text, or both; `name` identifies it in messages and results.

    Utterances with the same `conversation` are in its order; "" stands alone.
    """

    clip: Path | None = None
    text: str = ""
    name: str = ""
    conversation: str = ""
    speaker: str = ""


@dataclass(frozen=True)
class Prediction:
    """The prediction for one utterance.

    `probabilities` are computed as in evaluation; `calibrated` also apply the temperature fitted on validation.
    `absent` names the model's modalities that the utterance lacks, each with the reason. `frames`
    [frame, 3, height, width] uint8 and `log_mel` [time, mel] float32 are the model's input; None for a modality that
    is absent or not used by the model. `context` is the number of other utterances that the model read.
    """

    name: str
    text: str
    probabilities: dict[str, float]
    calibrated: dict[str, float]
    absent: dict[Modality, str]
    frames: "Tensor | None"
    log_mel: "Tensor | None"
    context: int = 0

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return max(self.probabilities, key=self.probabilities.__getitem__)


@dataclass(frozen=True)
class Refusal:
    """An utterance that cannot be predicted, and why."""

    name: str
    reason: str


class TimeIsUp(Exception):
    """A prediction was not finished in time."""


class Predictor:
    """A trained model in memory. Prepared clips are deleted after each call of `predict`."""

    def __init__(self, trained: TrainedModel) -> None:
        """Loads the checkpoints. Raises CheckpointError, also if they are not those of the training."""
        from trimood.learning.setup import load_for_plan

        trained.check_whole()
        self.name, self.modalities, self.temperature = trained.name, trained.modalities, trained.temperature
        self._loaded = load_for_plan(trained.plan, trained.weights)
        self.context = trained.plan.settings.context
        self._trained = trained
        self._batch_size = trained.plan.settings.training.per_device_eval_batch_size

    def predict(
        self, utterances: Sequence[Utterance], execution: Execution = HERE, until: float = math.inf
    ) -> list[Prediction | Refusal]:
        """Returns a result for each utterance, in order; a Refusal if it cannot be predicted.

        Raises TimeIsUp before the first batch of utterances that would begin after `until` (of `time.monotonic`).
        """
        table = pd.DataFrame(
            {
                "utterance": [str(number) for number in range(len(utterances))],
                "text": [utterance.text for utterance in utterances],
                "clip": [str(utterance.clip or "") for utterance in utterances],
                "conversation_id": [utterance.conversation for utterance in utterances],
                "speaker": [utterance.speaker for utterance in utterances],
            },
            dtype="str",
        ).assign(utterance_id=range(len(utterances)))
        results: dict[str, Prediction | Refusal] = {}
        with tempfile.TemporaryDirectory(prefix="trimood-") as folder:
            examples, refused = prepare_own(table, self._trained, Path(folder), execution)
            found = self._probabilities_until(until, examples, Path(folder))
            numbers = zip(found, self.calibrated(found), self.context_counts(examples), strict=True)
            for row, (raw, calibrated, context) in zip(examples.to_dict("records"), numbers, strict=True):
                part = load_part(Path(folder) / row["part"]) if row["part"] else {}
                results[row["utterance"]] = Prediction(
                    utterances[int(row["utterance"])].name,
                    row["text"],
                    dict(zip(EMOTIONS, raw.tolist(), strict=True)),
                    dict(zip(EMOTIONS, calibrated.tolist(), strict=True)),
                    {modality: row[f"no_{modality}"] for modality in self.modalities if row[f"no_{modality}"]},
                    part.get("frames") if "video" in self.modalities else None,
                    part.get("log_mel") if "audio" in self.modalities else None,
                    context,
                )
        for row in refused.to_dict("records"):
            results[row["utterance"]] = Refusal(utterances[int(row["utterance"])].name, row["message"])
        return [results[key] for key in table["utterance"]]

    def probabilities(self, examples: pd.DataFrame, prepared_clips: Location) -> np.ndarray:
        """Computes probabilities as in evaluation, [utterance, 7] float64, for examples of `prepare_own`."""
        from trimood.learning.prediction import probabilities

        return probabilities(self._loaded.model, self._loaded.examples(examples, prepared_clips), self._batch_size)

    def _probabilities_until(self, until: float, examples: pd.DataFrame, prepared_clips: Path) -> np.ndarray:
        from torch.utils.data import Subset

        from trimood.learning.prediction import probabilities

        found = [np.empty((0, len(EMOTIONS)))]
        tensors = self._loaded.examples(examples, prepared_clips)
        for start in range(0, len(examples), self._batch_size):
            if time.monotonic() > until:
                raise TimeIsUp
            some = Subset(tensors, range(start, min(start + self._batch_size, len(examples))))
            found.append(probabilities(self._loaded.model, some, self._batch_size))
        return np.concatenate(found)

    def context_counts(self, examples: pd.DataFrame) -> list[int]:
        """For each example, the number of other utterances that the model's text tower may read."""
        from trimood.learning.context import rows_around

        return [len(around.before) + len(around.after) for around in rows_around(examples, self.context)]

    def calibrated(self, found: np.ndarray) -> np.ndarray:
        """Applies the temperature fitted on the validation split to probabilities."""
        return with_temperature(found, self.temperature) if len(found) else found


def load_predictor(model: str, models: Path, checkpoints: Mapping[str, str | None] | None = None) -> Predictor:
    """Loads the model that `load_trained` finds; `checkpoints` gives new places of the video and audio checkpoints."""
    return Predictor(load_trained(model, models).with_checkpoints(checkpoints or {}))
