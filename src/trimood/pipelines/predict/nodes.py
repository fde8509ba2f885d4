"""Nodes of the prediction stage."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
from upath import UPath

from trimood.config.parameters import ClipParams, PredictionParams, listed
from trimood.corpus.reading import in_one_line
from trimood.corpus.tables import ABSENCE_COLUMNS
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES

log = logging.getLogger(__name__)

NAMED, SHOWN = 20, 10
"""How many refused utterances and predictions are in the log, or in an error message."""


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
    lines = _lines(refused)
    causes = Counter(message.partition(":")[0] for message in refused["message"])
    counted = ", ".join(f"{count:,} {cause}" for cause, count in causes.most_common())
    if not len(examples):
        named = listed(lines, NAMED, "\n  ")
        raise NothingPredicted(f"none of {len(utterances):,} utterances can be predicted ({counted}):\n  {named}")
    if lines:
        message = "%d of %d utterances are not predicted (%s); refused.csv lists them:\n  %s"
        log.warning(message, len(lines), len(utterances), counted, listed(lines, NAMED, "\n  "))
    return examples, refused


def predict(examples: pd.DataFrame, trained_model: Any, prepared_clips: Path | UPath) -> pd.DataFrame:
    """Returns a row for each example: model, utterance, text, emotion, absent modalities, PROBABILITIES, CALIBRATED."""
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
    return rows


def tabulate(predictions: pd.DataFrame, refused: pd.DataFrame) -> str:
    """Returns a Markdown table of the calibrated predictions and the refused utterances; logs the first predictions."""
    unlike = (predictions[list(CALIBRATED)].to_numpy() != predictions[list(PROBABILITIES)].to_numpy()).any()
    kind = "calibrated probabilities" if unlike else "probabilities, not calibrated (temperature 1)"
    head = [
        f"Predictions of {predictions['model'].iloc[0]}, {kind}",
        "",
        "| utterance | words | emotion | " + " | ".join(EMOTIONS) + " | absent |",
        "|---|---|---|" + "--:|" * len(EMOTIONS) + "---|",
    ]
    rows = []
    for row in predictions.to_dict("records"):
        numbers = " | ".join(f"{row[column]:.2f}" for column in CALIBRATED)
        cells = (row["utterance"], row["text"], row["predicted"])
        rows.append(f"| {' | '.join(map(_cell, cells))} | {numbers} | {_cell(row['absent'])} |")
    counts = ", ".join(f"{count:,} {emotion}" for emotion, count in predictions["predicted"].value_counts().items())
    log.info("%s\n\n%s", counts, "\n".join([*head, listed(rows, SHOWN, "\n")]))
    more = ["", "Not predicted:", "", *(f"- {line}" for line in _lines(refused))] if len(refused) else []
    return "\n".join([*head, *rows, *more]) + "\n"


def draw(  # type: ignore[no-untyped-def]
    predictions: pd.DataFrame, examples: pd.DataFrame, prepared_clips: Path | UPath, prediction: PredictionParams
):
    """Draws the first utterances: a frame, the sound, the text, and a bar for each emotion."""
    from trimood.reports.clips import predictions_figure

    shown = predictions.assign(part=examples["part"]).head(prediction.shown_utterances)
    return predictions_figure(shown, prepared_clips, len(predictions))


def _lines(refused: pd.DataFrame) -> list[str]:
    return [in_one_line(f"{name}: {why}") for name, why in zip(refused["utterance"], refused["message"], strict=True)]


def _absences(row: dict[Any, Any]) -> str:
    return ", ".join(f"{modality} ({row[column]})" for modality, column in ABSENCE_COLUMNS.items() if row[column])


def _cell(words: str) -> str:
    return in_one_line(words).replace("|", "\\|")
