"""From a clip and words to what the page shows of one model: probabilities, what it was given, what was absent."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from trimood.app.choices import ModelsInMemory
from trimood.emotions import Modality
from trimood.model.checkpoints import CheckpointError
from trimood.serving.predictor import Prediction, Predictor, Refusal, Utterance
from trimood.serving.requests import is_media
from trimood.serving.trained_model import ModelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING_THERE = "There is nothing to look at yet: drop a clip, record one, or type some words."
NO_MODEL = "Choose a model first."

_BEGINNING_BYTES = 64
_FRAMES_IN_ROW = 4
_STEPS_PER_SECOND = 100  # of log-mel energies: one each 10 ms
_CALLED: dict[Modality, str] = {"text": "words", "video": "picture", "audio": "sound"}


@dataclass(frozen=True)
class Answer:
    """One model's side of the page; `probabilities` are calibrated, and None where it could not predict."""

    note: str
    probabilities: dict[str, float] | None = None
    frames: "Figure | None" = None
    log_mel: "Figure | None" = None


def answer(memory: ModelsInMemory, clip: Path | None, words: str, names: Sequence[str]) -> list[Answer]:
    """An answer of each model. What is wrong is said in its note: nothing that a person gives raises."""
    problem = _problem(clip, words, names)
    if problem:
        return [Answer(problem) for _ in names] or [Answer(problem)]
    memory.keep(names)
    return [_answer_of(memory, name, Utterance(clip, words, name)) for name in names]


def _problem(clip: Path | None, words: str, names: Sequence[str]) -> str:
    if not names:
        return NO_MODEL
    if clip is None:
        return "" if words.strip() else NOTHING_THERE
    with clip.open("rb") as file:
        beginning = file.read(_BEGINNING_BYTES)
    if is_media(beginning):
        return ""
    return f"{clip.name} is no video. Give MP4, MOV, MKV, WebM or AVI."


def _answer_of(memory: ModelsInMemory, name: str, utterance: Utterance) -> Answer:
    try:
        predictor = memory.load(name)
    except (ModelError, CheckpointError) as error:
        return Answer(f"This model cannot be loaded. {error}")
    (result,) = predictor.predict([utterance])
    if isinstance(result, Refusal):
        return Answer(f"This cannot be predicted. {result.reason}")
    return Answer(
        _note(predictor, result),
        result.calibrated,
        None if result.frames is None else _draw_frames(result.frames),
        None if result.log_mel is None else _draw_log_mel(result.log_mel),
    )


def _note(predictor: Predictor, prediction: Prediction) -> str:
    reads = ", ".join(called for modality, called in _CALLED.items() if modality in predictor.modalities)
    absent = ", ".join(f"{_CALLED[modality]} ({reason})" for modality, reason in prediction.absent.items())
    return f"Reads {reads}. Absent: {absent or 'nothing'}.<br>Temperature {predictor.temperature:.2f}."


def _draw_frames(frames: Tensor) -> "Figure":
    """Frames [frame, 3, height, width] uint8, in the order of reading."""
    from matplotlib.figure import Figure

    rows = -(-len(frames) // _FRAMES_IN_ROW)
    figure = Figure(figsize=(6, 1.6 * rows + 0.3), layout="constrained")
    figure.suptitle("Frames that the model saw", fontsize=9)
    for number, frame in enumerate(frames):
        ax = figure.add_subplot(rows, _FRAMES_IN_ROW, number + 1)
        ax.imshow(frame.permute(1, 2, 0).numpy())
        ax.axis("off")
    return figure


def _draw_log_mel(log_mel: Tensor) -> "Figure":
    from matplotlib.figure import Figure

    energies = log_mel.numpy().T  # [mel, time]
    figure = Figure(figsize=(6, 2.4), layout="constrained")
    ax = figure.add_subplot()
    seconds = energies.shape[1] / _STEPS_PER_SECOND
    ax.imshow(energies, aspect="auto", origin="lower", cmap="magma", extent=(0, seconds, 0, energies.shape[0]))
    ax.set_title("Log-mel energies that the model heard", fontsize=9)
    ax.set_xlabel("seconds")
    ax.set_ylabel("mel bin")
    return figure
