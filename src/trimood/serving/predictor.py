"""Predicts new utterances with a trained model; preparation and model are the same as in evaluation.

The first predictor imports torch and transformers, so that a server answers before it has a model.
"""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from trimood.corpus.tables import REFUSED_COLUMNS
from trimood.emotions import EMOTIONS, Modality
from trimood.media.execution import Execution
from trimood.media.parts import Location, load_part
from trimood.scoring.calibration import with_temperature
from trimood.serving.preparation import cut_spans, prepare_own
from trimood.serving.trained_model import TrainedModel, load_trained

if TYPE_CHECKING:
    from torch import Tensor

HERE = Execution("serial")
"""Prepares clips in this process without a time limit, which suits one or two clips."""


@dataclass(frozen=True)
class Utterance:
    """A clip, its text, or both; `name` identifies it in messages and results.

    Utterances with the same `conversation` are in its order; "" stands alone. With a `span`, the utterance is the part
    of the clip from its first to its second millisecond, as of a video with subtitles.
    """

    clip: Path | None = None
    text: str = ""
    name: str = ""
    conversation: str = ""
    speaker: str = ""
    span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Prediction:
    """The prediction for one utterance.

    `probabilities` are computed as in evaluation; `calibrated` also apply the temperature fitted on validation.
    `absent` names the model's modalities that the utterance lacks, each with the reason. `frames`
    [frame, 3, height, width] uint8 and `log_mel` [time, mel] float32 are the model's input; None for a modality that
    is absent or not used by the model. `context` is the number of other utterances that the model read. `without` has
    the calibrated probabilities that the model gives if one of several modalities were absent, too.
    """

    name: str
    text: str
    probabilities: dict[str, float]
    calibrated: dict[str, float]
    absent: dict[Modality, str]
    frames: "Tensor | None"
    log_mel: "Tensor | None"
    context: int = 0
    without: dict[Modality, dict[str, float]] = field(default_factory=dict)

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
            table, not_cut = _cut(table, utterances, Path(folder) / "cut", execution)
            examples, refused = prepare_own(table, self._trained, Path(folder), execution)
            found, without = self._probabilities_until(until, examples, Path(folder))
            numbers = zip(found, self.calibrated(found), self.context_counts(examples), strict=True)
            for at, (row, (raw, calibrated, context)) in enumerate(
                zip(examples.to_dict("records"), numbers, strict=True)
            ):
                part = load_part(Path(folder) / row["part"]) if row["part"] else {}
                absent = {modality: row[f"no_{modality}"] for modality in self.modalities if row[f"no_{modality}"]}
                present = [modality for modality in self.modalities if modality not in absent]
                results[row["utterance"]] = Prediction(
                    utterances[int(row["utterance"])].name,
                    row["text"],
                    dict(zip(EMOTIONS, raw.tolist(), strict=True)),
                    dict(zip(EMOTIONS, calibrated.tolist(), strict=True)),
                    absent,
                    part.get("frames") if "video" in self.modalities else None,
                    part.get("log_mel") if "audio" in self.modalities else None,
                    context,
                    {
                        modality: dict(zip(EMOTIONS, without[modality][at].tolist(), strict=True))
                        for modality in (present if len(present) > 1 else ())
                    },
                )
        for row in [*not_cut.to_dict("records"), *refused.to_dict("records")]:
            results[row["utterance"]] = Refusal(utterances[int(row["utterance"])].name, row["message"])
        return [results[str(number)] for number in range(len(utterances))]

    def probabilities(self, examples: pd.DataFrame, prepared_clips: Location) -> np.ndarray:
        """Computes probabilities as in evaluation, [utterance, 7] float64, for examples of `prepare_own`."""
        from trimood.learning.prediction import probabilities

        return probabilities(self._loaded.model, self._loaded.examples(examples, prepared_clips), self._batch_size)

    def _probabilities_until(
        self, until: float, examples: pd.DataFrame, prepared_clips: Path
    ) -> tuple[np.ndarray, dict[Modality, np.ndarray]]:
        """As `probabilities`; and calibrated ones without each modality, whose embedding is zero as if absent."""
        from torch.utils.data import Subset

        from trimood.learning.prediction import embed, head_probabilities

        nothing = np.empty((0, len(EMOTIONS)))
        found, without = [nothing], {modality: [nothing] for modality in self.modalities}
        model = self._loaded.model
        tensors = self._loaded.examples(examples, prepared_clips)
        for start in range(0, len(examples), self._batch_size):
            if time.monotonic() > until:
                raise TimeIsUp
            some = Subset(tensors, range(start, min(start + self._batch_size, len(examples))))
            embeddings = embed(model, some, self._batch_size)
            found.append(head_probabilities(model.head, embeddings, self._batch_size))
            for modality, own in embeddings.items():
                blanked = {**embeddings, modality: np.zeros_like(own)}
                changed = head_probabilities(model.head, blanked, self._batch_size)
                without[modality].append(self.calibrated(changed))
        return np.concatenate(found), {modality: np.concatenate(of) for modality, of in without.items()}

    def context_counts(self, examples: pd.DataFrame) -> list[int]:
        """For each example, the number of other utterances that the model's text tower may read."""
        from trimood.learning.context import rows_around

        return [len(around.before) + len(around.after) for around in rows_around(examples, self.context)]

    def calibrated(self, found: np.ndarray) -> np.ndarray:
        """Applies the temperature fitted on the validation split to probabilities."""
        return with_temperature(found, self.temperature) if len(found) else found


def _cut(
    table: pd.DataFrame, utterances: Sequence[Utterance], folder: Path, execution: Execution
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """As `cut_spans`, for a table with a row for each utterance."""
    if not any(utterance.span for utterance in utterances):
        return table, pd.DataFrame(columns=REFUSED_COLUMNS)
    ends = [utterance.span or (None, None) for utterance in utterances]
    spans = pd.DataFrame(ends, columns=["start_milliseconds", "end_milliseconds"], dtype="Int64")
    return cut_spans(pd.concat([table, spans], axis=1), folder, execution)


def load_predictor(model: str, models: Path, checkpoints: Mapping[str, str | None] | None = None) -> Predictor:
    """Loads the model that `load_trained` finds; `checkpoints` gives new places of the video and audio checkpoints."""
    return Predictor(load_trained(model, models).with_checkpoints(checkpoints or {}))
