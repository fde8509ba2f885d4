"""The page's answer for a clip and words: a model's probabilities, its input, and absent modalities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trimood.app.choices import ModelsInMemory
from trimood.config.parameters import ServingParams
from trimood.emotions import Modality
from trimood.model.checkpoints import CheckpointError
from trimood.serving.predictor import Prediction, Predictor, Refusal, Utterance
from trimood.serving.requests import BadRequest, check_text, is_media
from trimood.serving.trained_model import ModelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING_THERE = "There is no input yet: drop a clip, record one, or type some words."
NO_MODEL = "Choose a model first."

_CALLED: dict[Modality, str] = {"text": "words", "video": "picture", "audio": "sound"}


@dataclass(frozen=True)
class Answer:
    """One model's answer; `probabilities` are calibrated, and None if it could not predict."""

    note: str
    probabilities: dict[str, float] | None = None
    frames: "Figure | None" = None
    log_mel: "Figure | None" = None


def answer(memory: ModelsInMemory, clip: Path | None, words: str, names: Sequence[str]) -> list[Answer]:
    """An answer from each model. Problems are reported in its note; no input raises an error."""
    if problem := _problem(clip, words, names, memory.decoder.limits):
        return [Answer(problem) for _ in names] or [Answer(problem)]
    memory.keep(names)
    utterance = Utterance(clip, words, clip.name if clip else "text")
    return [_answer_of(memory, name, utterance) for name in names]


def _problem(clip: Path | None, words: str, names: Sequence[str], limits: ServingParams) -> str:
    if not names:
        return NO_MODEL
    try:
        check_text(words, limits)
    except BadRequest as error:
        return str(error)
    if clip is None:
        return "" if words.strip() else NOTHING_THERE
    with clip.open("rb") as file:
        if is_media(file.read(64)):
            return ""
    return f"{clip.name} is not a video. Use MP4, MOV, MKV, WebM or AVI."


def _answer_of(memory: ModelsInMemory, name: str, utterance: Utterance) -> Answer:
    from trimood.reports.clips import frames_figure, log_mel_figure

    try:
        predictor = memory.load(name)
    except (ModelError, CheckpointError) as error:
        return Answer(f"This model cannot be loaded. {error}")
    try:
        (result,) = memory.decoder.predict(predictor, [utterance])
    except BadRequest as error:
        return Answer(f"This cannot be predicted. {error}")
    if isinstance(result, Refusal):
        return Answer(f"This cannot be predicted. {result.reason}")
    return Answer(
        _note(predictor, result),
        result.calibrated,
        None if result.frames is None else frames_figure(result.frames),
        None if result.log_mel is None else log_mel_figure(result.log_mel),
    )


def _note(predictor: Predictor, prediction: Prediction) -> str:
    reads = ", ".join(called for modality, called in _CALLED.items() if modality in predictor.modalities)
    absent = ", ".join(f"{_CALLED[modality]} ({reason})" for modality, reason in prediction.absent.items())
    alone = ""
    if not predictor.context.is_none:
        alone = f" Trained with context ({predictor.context}), of which the page has none."
    return f"Reads {reads}. Absent: {absent or 'nothing'}.{alone}<br>Temperature {predictor.temperature:.2f}."
