"""Nodes of the prediction stage."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from upath import UPath

from trimood.config.parameters import ClipParams, CompareParams, PredictionParams, listed
from trimood.corpus.reading import in_one_line
from trimood.corpus.tables import ABSENCE_COLUMNS
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.reports.html import in_markdown

log = logging.getLogger(__name__)

NAMED, EACH_NAMED = 20, 5
"""The log and errors name at most this many refused utterances, and this many each with its reason."""

_KEPT = ["conversation_id", "utterance_id", "speaker", "start_milliseconds", "end_milliseconds", "emotion"]


class NothingPredicted(Exception):
    """None of the utterances can be predicted."""


def read_utterances(clips: str, text: str) -> pd.DataFrame:
    """Returns the utterances of the given clips and text (OWN_UTTERANCE_COLUMNS). Raises WordsError."""
    from trimood.corpus.own_clips import own_utterances

    utterances = own_utterances(clips or None, text or None)
    without = int((utterances["text"].str.strip() == "").sum())
    log.info("%d utterances, %d of them without words", len(utterances), without)
    return utterances


def prepare(
    utterances: pd.DataFrame, trained_model: Any, cut_clips: Path, prepared_clips: Path | UPath, clips: ClipParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cuts spans and prepares clips; returns examples, and refused utterances with the reason.

    Raises NothingPredicted if all utterances are refused.
    """
    from trimood.media.execution import Execution
    from trimood.serving.preparation import cut_spans, prepare_own

    execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
    whole, not_cut = cut_spans(utterances, cut_clips, execution)
    examples, refused = prepare_own(whole, trained_model, prepared_clips, execution)
    refused = pd.concat([not_cut, refused], ignore_index=True)
    by_cause = _by_cause(refused)
    if not len(examples):
        raise NothingPredicted(f"none of {len(utterances):,} utterances can be predicted:\n  {by_cause}")
    if len(refused):
        message = "%d of %d utterances are not predicted; refused.csv lists them with the reasons:\n  %s"
        log.warning(message, len(refused), len(utterances), by_cause)
    return examples, refused


def predict(examples: pd.DataFrame, trained_model: Any, prepared_clips: Path | UPath) -> pd.DataFrame:
    """Returns a row for each example.

    Its columns: model, modalities; utterance, text, clip; `video`, the file that the utterance is a part of, or the
    whole of; conversation, place in it, speaker, span, and the true emotion ("" if unknown); the predicted emotion,
    PROBABILITIES, CALIBRATED; and what was absent, in words and as ABSENCE_COLUMNS.
    """
    from trimood.serving.predictor import Predictor

    predictor = Predictor(trained_model)
    found = predictor.probabilities(examples, prepared_clips)
    rows = examples[["utterance", "text", "clip", *_KEPT]].copy()
    is_cue = examples["start_milliseconds"].notna()
    rows.insert(2, "video", examples["conversation_id"].where(is_cue, examples["clip"]))  # of cues, it is their video
    rows.insert(0, "model", predictor.name)
    rows.insert(1, "modalities", "+".join(predictor.modalities))
    rows["predicted"] = [EMOTIONS[number] for number in found.argmax(axis=1)]
    rows["absent"] = [_absences(row) for row in examples.to_dict("records")]
    rows[list(ABSENCE_COLUMNS.values())] = examples[list(ABSENCE_COLUMNS.values())]
    rows[list(PROBABILITIES)] = found
    rows[list(CALIBRATED)] = predictor.calibrated(found)
    return rows


def score(predictions: pd.DataFrame, compare: CompareParams) -> dict[str, Any]:
    """Returns the scores of the utterances whose true emotion is known; empty without one."""
    from trimood.scoring.own_clips import score_known

    return score_known(predictions, compare.resamples, compare.confidence, compare.seed)


def summarise(predictions: pd.DataFrame, refused: pd.DataFrame, scores: dict[str, Any]) -> str:
    """Logs the summary of the predictions; returns it as Markdown, with all predictions and the refused utterances."""
    from trimood.reports.own_clips import markdown_table, summary, title

    lines = [title(predictions), "", *summary(predictions, scores)]
    log.info("%s", "\n".join(lines))
    more = ["", "Not predicted:", "", *(f"- {in_markdown(line)}" for line in _lines(refused))] if len(refused) else []
    return "\n".join([*lines, "", "All utterances:", "", *markdown_table(predictions), *more]) + "\n"


def export(
    predictions: pd.DataFrame, refused: pd.DataFrame, scores: dict[str, Any]
) -> tuple[str, pd.DataFrame, dict[str, str]]:
    """Returns the page, a table for spreadsheets, and the subtitles with emotions of each video."""
    from trimood.reports.own_clips import spreadsheet, subtitles, write_page

    return write_page(predictions, _lines(refused), scores), spreadsheet(predictions), subtitles(predictions)


def draw(  # type: ignore[no-untyped-def]
    predictions: pd.DataFrame, examples: pd.DataFrame, prepared_clips: Path | UPath, prediction: PredictionParams
):
    """Draws the first utterances: a frame, the sound, the text, and a bar for each emotion."""
    from trimood.reports.clips import predictions_figure

    shown = predictions.assign(part=examples["part"]).head(prediction.shown_utterances)
    return predictions_figure(shown, prepared_clips, len(predictions))


def _lines(refused: pd.DataFrame) -> list[str]:
    pairs = zip(refused["utterance"], refused["message"], strict=True)
    return [in_one_line(f"{name}: {message}") for name, message in pairs]


def _by_cause(refused: pd.DataFrame) -> str:
    """A line for each utterance; or, of more than a few, for each cause: the count, the first names, and an example."""
    if len(refused) <= EACH_NAMED:
        return "\n  ".join(_lines(refused))
    causes: dict[str, list[str]] = {}
    for name, message in zip(refused["utterance"], refused["message"], strict=True):
        causes.setdefault(message.partition(": ")[0], []).append(name)  # names of models have ":", too
    most_frequent = sorted(causes.items(), key=lambda item: -len(item[1]))
    lines, left = [], NAMED
    for cause, names in most_frequent:
        named = f": {listed(names, left)}" if left else ""
        lines.append(in_one_line(f"{len(names):,} {cause}{named}"))
        left = max(0, left - len(names))
    return "\n  ".join([*lines, in_one_line(f"the first reason in full: {refused['message'].iloc[0]}")])


def _absences(row: dict[Any, Any]) -> str:
    return ", ".join(f"{modality} ({row[column]})" for modality, column in ABSENCE_COLUMNS.items() if row[column])
