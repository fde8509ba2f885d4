"""Nodes of the prediction stage."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
from upath import UPath

from trimood.config.parameters import ClipParams, PredictionParams
from trimood.emotions import EMOTIONS, MODALITIES

log = logging.getLogger(__name__)


NAMED = 20
"""How many utterances an error names."""


class NothingPredicted(Exception):
    """None of the utterances can be predicted."""


def read_utterances(clips: str, text: str) -> pd.DataFrame:
    """The utterances that clips and words make (columns: trimood.corpus.own_clips). Raises WordsError."""
    from trimood.corpus.own_clips import own_utterances

    utterances = own_utterances(clips or None, text or None)
    without = int((utterances["text"].str.strip() == "").sum())
    log.info("%d utterances, %d of them without words", len(utterances), without)
    return utterances


def prepare(
    utterances: pd.DataFrame,
    trained_model: Any,
    cut_clips: Path,
    prepared_clips: Path | UPath,
    clips: ClipParams,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What can be predicted as examples, and the rest with the reason. Spans are cut first. Raises NothingPredicted."""
    from trimood.media.execution import Execution
    from trimood.serving.preparation import cut_spans, prepare_own

    execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
    whole, not_cut = cut_spans(utterances, cut_clips, execution)
    examples, refused = prepare_own(whole, trained_model, prepared_clips, execution)
    refused = pd.concat([not_cut, refused], ignore_index=True)
    lines = _lines(refused)
    if not len(examples):
        raise NothingPredicted(
            f"none of {len(utterances)} utterances can be predicted:\n  " + "\n  ".join(lines[:NAMED])
        )
    for line in lines:
        log.warning("not predicted: %s", line)
    return examples, refused


def predict(examples: pd.DataFrame, trained_model: Any, prepared_clips: Path | UPath) -> pd.DataFrame:
    """One row for each: utterance, clip, words, emotion, what is absent and why, probabilities, the same calibrated."""
    from trimood.serving.predictor import Predictor

    predictor = Predictor(trained_model)
    found = predictor.probabilities(examples, prepared_clips)
    rows = examples[["utterance", "text", "clip"]].copy()
    rows.insert(0, "model", predictor.name)
    rows.insert(1, "modalities", "+".join(predictor.modalities))
    rows["predicted"] = [EMOTIONS[number] for number in found.argmax(axis=1)]
    rows["absent"] = [_absences(row) for row in examples.to_dict("records")]
    rows[[f"p_{emotion}" for emotion in EMOTIONS]] = found
    rows[[f"calibrated_{emotion}" for emotion in EMOTIONS]] = predictor.calibrated(found)
    return rows


def tabulate(predictions: pd.DataFrame, refused: pd.DataFrame) -> str:
    """The predictions as a Markdown table, calibrated, and below it what was not predicted; the log shows it too."""
    lines = [
        f"Predictions of {predictions['model'].iloc[0]}, calibrated probabilities",
        "",
        "| utterance | words | emotion | " + " | ".join(EMOTIONS) + " | absent |",
        "|---|---|---|" + "--:|" * len(EMOTIONS) + "---|",
    ]
    for row in predictions.to_dict("records"):
        numbers = " | ".join(f"{row[f'calibrated_{emotion}']:.2f}" for emotion in EMOTIONS)
        cells = (row["utterance"], row["text"], row["predicted"])
        lines.append(f"| {' | '.join(map(_cell, cells))} | {numbers} | {_cell(row['absent'])} |")
    if len(refused):
        lines += ["", "Not predicted:", "", *(f"- {line}" for line in _lines(refused))]
    table = "\n".join(lines) + "\n"
    log.info("\n%s", table)
    return table


def draw(  # type: ignore[no-untyped-def]
    predictions: pd.DataFrame, examples: pd.DataFrame, prepared_clips: Path | UPath, prediction: PredictionParams
):
    """The first utterances: a frame, the sound, the words, a bar for each emotion; as a matplotlib Figure."""
    from trimood.reports.clips import predictions_figure

    shown = predictions.assign(part=examples["part"]).head(prediction.shown_utterances)
    return predictions_figure(shown, prepared_clips, len(predictions))


def _lines(refused: pd.DataFrame) -> list[str]:
    return [f"{name}: {why}" for name, why in zip(refused["utterance"], refused["message"], strict=True)]


def _absences(row: dict[Any, Any]) -> str:
    return ", ".join(f"{m} ({row[f'no_{m}']})" for m in MODALITIES if row[f"no_{m}"])


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")
