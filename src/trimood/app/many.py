"""The page's answer for several clips: a table, the timeline of a video with subtitles, and files to download."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.app.answers import NO_MODEL, in_conversation, not_media, predict_one
from trimood.app.choices import ModelsInMemory
from trimood.config.parameters import listed
from trimood.corpus.own_clips import own_utterances
from trimood.corpus.reading import BEGINS_A_FORMULA
from trimood.corpus.subtitles import SUBTITLES
from trimood.corpus.tables import ABSENCE_COLUMNS
from trimood.corpus.words import TABLES, WordsError
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.media.names import spelling
from trimood.model.checkpoints import CheckpointError
from trimood.serving.predictor import Prediction, Predictor, Refusal, Utterance
from trimood.serving.requests import BadRequest, check_text
from trimood.serving.trained_model import ModelError

NOTHING_THERE = "There is no input yet: choose clips, and if you like files with their words."
MOST_UTTERANCES = 300
"""The page is for trying: more utterances are predicted by `kedro run --pipelines=predict`, which needs no browser."""

MOST_WORDS_BYTES = 1_000_000
"""A file with words is read in the server's own process, so it is small: an episode's subtitles have 50 kB."""

Progress = Callable[[int, int], None]
"""Is told how many utterances are predicted, and of how many."""


@dataclass(frozen=True)
class ManyAnswers:
    """`note` is Markdown; `table` has a row for each utterance; `files` are to be downloaded.

    Of the first video with subtitles, `video` is the file and `timeline` HTML whose links have `data-second`.
    """

    note: str
    table: pd.DataFrame | None = None
    files: list[Path] = field(default_factory=list)
    video: Path | None = None
    timeline: str = ""


def answer_many(
    memory: ModelsInMemory, name: str, given: Sequence[Path], folder: Path, progress: Progress
) -> ManyAnswers:
    """Predicts the utterances of these files, one after the other; a bad one affects only itself.

    `folder` is empty and gets what is to be downloaded. No input raises an error: `note` says what is wrong.
    """
    if not given:
        return ManyAnswers(NOTHING_THERE)
    if not name:
        return ManyAnswers(NO_MODEL)
    try:
        utterances = _read(given, folder / "given", memory)
    except (WordsError, BadRequest) as error:
        return ManyAnswers(f"These files cannot be predicted. {str(error).replace(f'{folder}/given/', '')}")
    memory.keep([name])
    try:
        predictor = memory.load(name)
    except (ModelError, CheckpointError) as error:
        return ManyAnswers(f"This model cannot be loaded. {error}")
    asked = [_utterance(row) for row in utterances.to_dict("records")]
    rows, refused = [], []
    for number, utterance in enumerate(asked):
        result = _result(memory, predictor, asked, number)
        if isinstance(result, Refusal):
            refused.append(f"{utterance.name}: {result.reason}")
        else:
            rows.append(utterances.iloc[number].to_dict() | _predicted(result, predictor))
        progress(number + 1, len(asked))
    if not rows:
        return ManyAnswers("None of these utterances can be predicted.<br>" + "<br>".join(refused))
    return _shown(pd.DataFrame(rows).astype(dict(utterances.dtypes)), refused, folder)


def _read(given: Sequence[Path], folder: Path, memory: ModelsInMemory) -> pd.DataFrame:
    """The utterances of the files, which are linked into one folder by their names. Raises WordsError, BadRequest."""
    folder.mkdir()
    for file in given:
        if (folder / file.name).exists():
            raise BadRequest(f"{file.name}: two files have this name. Rename one of them.")
        is_clip = bool(spelling(file.name)[1])
        if not is_clip and file.suffix.lower() in (*TABLES, *SUBTITLES) and file.stat().st_size > MOST_WORDS_BYTES:
            raise BadRequest(
                f"{file.name}: it has {file.stat().st_size:,} bytes; the maximum of a file with words is "
                f"{MOST_WORDS_BYTES:,}. Use `kedro run --pipelines=predict` for it."
            )
        if is_clip and (problem := not_media(file)):
            raise BadRequest(problem)
        os.link(file, folder / file.name)
    words = [file.name for file in given if file.suffix.lower() in (*TABLES, *SUBTITLES)]
    has_clips = any(spelling(file.name)[1] for file in given)
    if not has_clips and len(words) != 1:
        named = listed(sorted(file.name for file in given), 5)
        raise BadRequest(f"there is no clip among these files: {named}. Give clips, or one file with words.")
    utterances = own_utterances(str(folder), None) if has_clips else own_utterances(None, str(folder / words[0]))
    if len(utterances) > MOST_UTTERANCES:
        raise BadRequest(
            f"there are {len(utterances):,} utterances; the page predicts at most {MOST_UTTERANCES}. Give fewer, or "
            "use `kedro run --pipelines=predict --params model=NAME,clips=FOLDER`."
        )
    for utterance, text in zip(utterances["utterance"], utterances["text"], strict=True):
        check_text(text, memory.decoder.limits, f"the text of {utterance}")
    return utterances


def _utterance(row: dict[Any, Any]) -> Utterance:
    is_span = row["clip"] and not pd.isna(row["start_milliseconds"])
    span = (int(row["start_milliseconds"]), int(row["end_milliseconds"])) if is_span else None
    clip = Path(row["clip"]) if row["clip"] else None
    return Utterance(clip, row["text"], row["utterance"], row["conversation_id"], row["speaker"], span)


def _result(
    memory: ModelsInMemory, predictor: Predictor, asked: Sequence[Utterance], number: int
) -> Prediction | Refusal:
    name = asked[number].name
    try:
        return predict_one(memory, predictor, in_conversation(asked, number, predictor.context), name)
    except BadRequest as error:
        return Refusal(name, str(error).removeprefix(f"{name}: "))


def _predicted(result: Prediction, predictor: Predictor) -> dict[str, Any]:
    """The columns that a prediction adds to those of its utterance, as in the table of the pipeline `predict`."""
    return {
        "model": predictor.name,
        "modalities": "+".join(predictor.modalities),
        "predicted": result.emotion,
        "absent": ", ".join(f"{modality} ({reason})" for modality, reason in result.absent.items()),
        **{column: result.absent.get(modality, "") for modality, column in ABSENCE_COLUMNS.items()},
        **dict(zip(PROBABILITIES, (result.probabilities[emotion] for emotion in EMOTIONS), strict=True)),
        **dict(zip(CALIBRATED, (result.calibrated[emotion] for emotion in EMOTIONS), strict=True)),
    }


def _shown(predictions: pd.DataFrame, refused: list[str], folder: Path) -> ManyAnswers:
    from trimood.reports.own_clips import draw_timelines, spreadsheet, subtitles, summary, timelines, write_page
    from trimood.scoring.own_clips import score_known

    predictions["video"] = [Path(clip).name for clip in predictions["clip"]]
    scores = score_known(predictions)
    page = folder / "predictions.html"
    page.write_text(write_page(predictions, refused, scores), encoding="utf-8")
    table = folder / "predictions.csv"
    rows = spreadsheet(predictions).map(
        lambda cell: re.sub(BEGINS_A_FORMULA, "'", cell) if isinstance(cell, str) else cell
    )
    rows.to_csv(table, index=False, lineterminator="\r\n")
    files = [table, page]
    for name, content in subtitles(predictions).items():
        files.append(folder / f"{name} with emotions.srt")
        files[-1].write_text(content, encoding="utf-8")
    said = list(takewhile(bool, summary(predictions, scores)))  # until the table of the least certain
    if refused:
        said.append(f"{len(refused)} not predicted:<br>" + "<br>".join(refused))
    of_videos = timelines(predictions)
    cues = predictions[predictions["start_milliseconds"].notna() & (predictions["clip"] != "")]
    return ManyAnswers(
        "\n\n".join(said),
        _table(predictions),
        files,
        Path(cues["clip"].iloc[0]) if len(cues) else None,
        draw_timelines(of_videos[:1]) if of_videos else "",
    )


def _table(predictions: pd.DataFrame) -> pd.DataFrame:
    """The columns that the page shows."""
    table = predictions[["utterance"]].copy()
    highest = predictions[list(CALIBRATED)].max(axis=1)
    table["emotion"] = [f"{name} {p:.2f}" for name, p in zip(predictions["predicted"], highest, strict=True)]
    if (predictions["emotion"] != "").any():
        table["true"] = predictions["emotion"]
    table["words"] = predictions["text"]
    if (predictions["absent"] != "").any():
        table["absent"] = predictions["absent"]
    return table
