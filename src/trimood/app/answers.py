"""The page's answer for one utterance: probabilities, what each modality changes, the input, and what is absent."""

import filecmp
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from trimood.app.choices import Example, ModelsInMemory
from trimood.config.experiment_settings import ContextParams
from trimood.config.parameters import ServingParams
from trimood.emotions import Modality
from trimood.model.checkpoints import CheckpointError
from trimood.reports.html import in_markdown
from trimood.serving.predictor import Prediction, Predictor, Refusal, Utterance
from trimood.serving.requests import ACCEPTED_FORMATS, BadRequest, check_text, is_media
from trimood.serving.trained_model import ModelError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOTHING_THERE = "There is no input yet: drop a clip, record one, or type some words."
NO_MODEL = "Choose a model first."

CALLED: dict[Modality, str] = {"text": "words", "video": "picture", "audio": "sound"}
"""The modalities as the page calls them."""

_LINE = re.compile(r"([^:]{1,40}):\s+(.+)")
_ASKED = "asked"


@dataclass(frozen=True)
class Question:
    """An utterance to be predicted; `before` and `after` are the lines around it, each on a line of its own.

    A line is "Name: words", or words. `true` is the true emotion, "" if it is unknown.
    """

    clip: Path | None
    words: str
    speaker: str = ""
    before: str = ""
    after: str = ""
    true: str = ""


@dataclass(frozen=True)
class Answer:
    """One model's answer; `probabilities` are calibrated, and None if it could not predict. `why` is Markdown."""

    note: str
    probabilities: dict[str, float] | None = None
    why: str = ""
    frames: "Figure | None" = None
    log_mel: "Figure | None" = None


def true_emotion(examples: Sequence[Example], clip: Path | None, words: str) -> str:
    """The true emotion if the clip is that of an example, with its words or without words; else ""."""
    if clip is None:
        return ""
    for example in examples:
        if words.strip() in ("", example.text.strip()) and filecmp.cmp(clip, example.clip, shallow=False):
            return example.emotion
    return ""


def answer(memory: ModelsInMemory, question: Question, names: Sequence[str]) -> list[Answer]:
    """An answer from each model. Problems are reported in its note; no input raises an error."""
    if problem := in_markdown(_problem(question, names, memory.decoder.limits)):
        return [Answer(problem) for _ in names] or [Answer(problem)]
    memory.keep(names)
    return [_answer_of(memory, name, question) for name in names]


def _problem(question: Question, names: Sequence[str], limits: ServingParams) -> str:
    if not names:
        return NO_MODEL
    try:
        check_text(question.words, limits)
        for column in ("speaker", "before", "after"):
            check_text(getattr(question, column), limits, f"the field “{column}”")
    except BadRequest as error:
        return str(error)
    if question.clip is None:
        return "" if question.words.strip() else NOTHING_THERE
    return not_media(question.clip)


def not_media(clip: Path) -> str:
    """Says so if a file does not begin as a clip that holds its own pictures and sound; else ""."""
    with clip.open("rb") as file:
        if is_media(file.read(64)):
            return ""
    return f"{clip.name} is not a video or sound file that the page opens. Use {ACCEPTED_FORMATS}."


def in_conversation(utterances: Sequence[Utterance], at: int, context: ContextParams) -> list[Utterance]:
    """The utterance at this place, and the words around it in its conversation that a model with this context reads.

    Utterances of one conversation are in its order. `predict` of these, and of the whole conversation, give the same
    for this utterance, unless another one is refused.
    """
    asked = utterances[at]
    if context.is_none or not asked.conversation:
        return [asked]
    same = [
        number
        for number, other in enumerate(utterances)
        if other.conversation == asked.conversation and (number == at or other.text.strip())
    ]
    place = same.index(at)
    near = same[max(0, place - context.previous) : place + 1 + context.next]
    return [asked if number == at else replace(utterances[number], clip=None, span=None) for number in near]


def predict_one(
    memory: ModelsInMemory, predictor: Predictor, around: list[Utterance], name: str
) -> Prediction | Refusal:
    """The result for the utterance with this name among those of its conversation. Raises BadRequest."""
    results = memory.decoder.predict(predictor, around)
    return next(result for result in results if result.name == name)


def _answer_of(memory: ModelsInMemory, name: str, question: Question) -> Answer:
    from trimood.reports.clips import frames_figure, log_mel_figure

    try:
        predictor = memory.load(name)
    except (ModelError, CheckpointError) as error:
        return Answer(f"This model cannot be loaded. {in_markdown(str(error))}")
    around = _with_lines(question, predictor.context)
    asked = question.clip.name if question.clip else "text"
    try:
        result = predict_one(memory, predictor, around, asked)
    except BadRequest as error:
        return Answer(f"This cannot be predicted. {in_markdown(str(error))}")
    if isinstance(result, Refusal):
        return Answer(f"This cannot be predicted. {in_markdown(result.reason)}")
    return Answer(
        _note(predictor, result, question.true),
        result.calibrated,
        _why(result),
        None if result.frames is None else frames_figure(result.frames),
        None if result.log_mel is None else log_mel_figure(result.log_mel),
    )


def _with_lines(question: Question, context: ContextParams) -> list[Utterance]:
    """The utterance among the lines around it that a model with this context reads."""
    before, after = (
        [_said(line, context.speakers) for line in side.splitlines() if line.strip()]
        for side in (question.before, question.after)
    )
    asked = Utterance(
        question.clip,
        question.words,
        question.clip.name if question.clip else "text",
        _ASKED,
        question.speaker.strip() if context.speakers else "",
    )
    return in_conversation([*before, asked, *after], len(before), context)


def _said(line: str, reads_speakers: bool) -> Utterance:
    found = _LINE.fullmatch(line.strip())
    speaker, words = found.groups() if found else ("", line.strip())
    return Utterance(None, words, "", _ASKED, speaker if reads_speakers else "")


def _note(predictor: Predictor, prediction: Prediction, true: str) -> str:
    reads = ", ".join(called for modality, called in CALLED.items() if modality in predictor.modalities)
    absent = ", ".join(f"{CALLED[modality]} ({reason})" for modality, reason in prediction.absent.items())
    context = ""
    if not predictor.context.is_none:
        context = f" Context ({predictor.context}): {prediction.context} of the lines around it were read."
    judged = ""
    if true:
        is_right = prediction.emotion == true
        judged = f"**{'Right' if is_right else 'Wrong'}**: the true emotion is {true}.<br>"
    return f"{judged}Reads {reads}. Absent: {absent or 'nothing'}.{context}<br>Temperature {predictor.temperature:.2f}."


def _why(prediction: Prediction) -> str:
    """A table of what the probability of the predicted emotion would be without each modality."""
    if not prediction.without:
        return ""
    emotion = prediction.emotion
    rows = [
        f"| without | {emotion} ({_percent(prediction.calibrated[emotion])}) becomes | most probable then |",
        "|---|--:|---|",
    ]
    for modality, called in CALLED.items():
        if changed := prediction.without.get(modality):
            first = max(changed, key=changed.__getitem__)
            rows.append(f"| {called} | {_percent(changed[emotion])} | {first} {_percent(changed[first])} |")
    return "\n".join(rows)


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f} %"
