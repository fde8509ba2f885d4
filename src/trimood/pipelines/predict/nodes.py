"""Nodes of the prediction stage."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from upath import UPath

from trimood.config.parameters import ClipParams, PredictionParams, listed
from trimood.corpus.reading import in_one_line
from trimood.corpus.tables import ABSENCE_COLUMNS
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.reports.html import in_markdown

log = logging.getLogger(__name__)

NAMED, EACH_NAMED, SHOWN = 20, 5, 10
"""The log and errors name at most this many refused utterances, each with its reason, and show so many predictions."""


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
    """Returns a row for each example: model, utterance, text, emotion, absent modalities, PROBABILITIES, CALIBRATED.

    Logs the number of each emotion and the first rows.
    """
    from trimood.serving.predictor import Predictor

    predictor = Predictor(trained_model)
    found = predictor.probabilities(examples, prepared_clips)
    rows = examples[["utterance", "text", "clip"]].copy()
    rows.insert(0, "model", predictor.name)
    rows.insert(1, "modalities", "+".join(predictor.modalities))
    rows["predicted"] = [EMOTIONS[number] for number in found.argmax(axis=1)]
    rows["absent"] = [_absences(row) for row in examples.to_dict("records")]
    rows[list(PROBABILITIES)] = found
    rows[list(CALIBRATED)] = predictor.calibrated(found)
    counts = ", ".join(f"{count:,} {emotion}" for emotion, count in rows["predicted"].value_counts().items())
    log.info("%s\n\n%s", counts, "\n".join([*_head(rows), listed(_rows(rows), SHOWN, "\n")]))
    return rows


def tabulate(predictions: pd.DataFrame, refused: pd.DataFrame) -> str:
    """Returns a Markdown table of the calibrated predictions, and a list of the refused utterances."""
    more = ["", "Not predicted:", "", *(f"- {in_markdown(line)}" for line in _lines(refused))] if len(refused) else []
    return "\n".join([*_head(predictions), *_rows(predictions), *more]) + "\n"


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
        causes.setdefault(message.partition(":")[0], []).append(name)
    most_frequent = sorted(causes.items(), key=lambda item: -len(item[1]))
    lines, left = [], NAMED
    for cause, names in most_frequent:
        named = f": {listed(names, left)}" if left else ""
        lines.append(in_one_line(f"{len(names):,} {cause}{named}"))
        left = max(0, left - len(names))
    return "\n  ".join([*lines, in_one_line(f"the first reason in full: {refused['message'].iloc[0]}")])


def _head(predictions: pd.DataFrame) -> list[str]:
    unlike = (predictions[list(CALIBRATED)].to_numpy() != predictions[list(PROBABILITIES)].to_numpy()).any()
    kind = "calibrated probabilities" if unlike else "probabilities, not calibrated (temperature 1)"
    return [
        f"Predictions of {predictions['model'].iloc[0]}, {kind}",
        "",
        "| utterance | words | emotion | " + " | ".join(EMOTIONS) + " | absent |",
        "|---|---|---|" + "--:|" * len(EMOTIONS) + "---|",
    ]


def _rows(predictions: pd.DataFrame) -> list[str]:
    rows = []
    for row in predictions.to_dict("records"):
        numbers = " | ".join(f"{row[column]:.2f}" for column in CALIBRATED)
        *cells, absent = (in_markdown(in_one_line(row[name])) for name in ("utterance", "text", "predicted", "absent"))
        rows.append(f"| {' | '.join(cells)} | {numbers} | {absent} |")
    return rows


def _absences(row: dict[Any, Any]) -> str:
    return ", ".join(f"{modality} ({row[column]})" for modality, column in ABSENCE_COLUMNS.items() if row[column])
