"""The page's answer for several clips: a table, the timeline of a video with subtitles, and files to download."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.app.answers import NO_MODEL, in_conversation, not_media, predict_one
from trimood.app.choices import ModelsInMemory
from trimood.config.parameters import ServingParams, listed
from trimood.corpus.own_clips import own_utterances
from trimood.corpus.reading import for_spreadsheet
from trimood.corpus.subtitles import SUBTITLES
from trimood.corpus.tables import ABSENCE_COLUMNS
from trimood.corpus.words import TABLES, WordsError
from trimood.emotions import CALIBRATED, EMOTIONS, PROBABILITIES
from trimood.media.names import spelling
from trimood.model.checkpoints import CheckpointError
from trimood.reports.html import in_markdown
from trimood.serving.predictor import Prediction, Predictor, Refusal, Utterance
from trimood.serving.requests import BadRequest, check_text
from trimood.serving.trained_model import ModelError

NOTHING_THERE = "There is no input yet: choose clips, and if you like files with their words."
MOST_UTTERANCES = 300
"""The page is for trying: more utterances are predicted by `kedro run --pipelines=predict`, which needs no browser."""

MOST_MINUTES = 30
"""The page predicts for one person at a time, so no press of the button holds it for longer."""

MOST_WORDS_BYTES = 1_000_000
"""A file with words is read in the server's own process, so it is small: an episode's subtitles have 50 kB."""

Progress = Callable[[int, int], None]
"""Is told how many utterances are predicted, and of how many."""


@dataclass(frozen=True)
class ManyAnswers:
    """`note` is Markdown; `table` has a row for each utterance; `files` are to be downloaded.

    Of the first video with subtitles, `video` is the given file and `timeline` HTML whose links have `data-second`.
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
        with _warnings() as warnings:
            utterances, refused = _read(given, folder / "given", memory.decoder.limits)
    except (WordsError, BadRequest) as error:
        return ManyAnswers(f"These files cannot be predicted. {_in_words(str(error), folder)}")
    memory.keep([name])
    try:
        predictor = memory.load(name)
    except (ModelError, CheckpointError) as error:
        return ManyAnswers(f"This model cannot be loaded. {in_markdown(str(error))}")
    in_order = utterances.sort_values(["conversation_id", "utterance_id"], kind="stable")
    asked = [_utterance(row) for row in in_order.to_dict("records")]
    results = {result.name: result for result in _results(memory, predictor, asked, progress)}
    rows = []
    for row in utterances.to_dict("records"):
        result = results[row["utterance"]]
        if isinstance(result, Refusal):
            refused.append(f"{result.name}: {result.reason}")
        else:
            rows.append(row | _predicted(result, predictor))
    said = [f"Note: {_in_words(warning, folder)}" for warning in warnings]
    if refused:
        said.append("<br>".join([f"{len(refused)} not predicted:", *map(in_markdown, refused)]))
    if not rows:
        return ManyAnswers("\n\n".join(["None of these utterances can be predicted.", *said]))
    originals = {file.name: file for file in given}
    return _shown(pd.DataFrame(rows).astype(dict(utterances.dtypes)), refused, said, folder, originals)


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects what this thread warns of while it reads files with words."""
    said: list[str] = []
    here = threading.get_ident()

    class Collecting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == here:
                said.append(record.getMessage())

    logger, handler = logging.getLogger("trimood.corpus"), Collecting(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


def _in_words(message: str, folder: Path) -> str:
    """The message as Markdown, with the names of files as they were given."""
    return in_markdown(message.replace(f"{folder}/given/", "").replace(f"{folder}/given: ", ""))


def _read(given: Sequence[Path], folder: Path, limits: ServingParams) -> tuple[pd.DataFrame, list[str]]:
    """The utterances of the files, which are linked into one folder by their names, and what is refused, in words.

    Raises WordsError and BadRequest if no utterance can be told from the files.
    """
    folder.mkdir()
    bad: dict[str, str] = {}
    count = Counter(file.name for file in given)
    for file in given:
        is_clip = bool(spelling(file.name)[1])
        has_words = not is_clip and file.suffix.lower() in (*TABLES, *SUBTITLES)
        if count[file.name] > 1:
            bad[file.name] = f"{file.name}: {count[file.name]} files have this name. Rename all but one of them."
            if has_words:
                raise BadRequest(bad[file.name])
        elif has_words and file.stat().st_size > MOST_WORDS_BYTES:
            raise BadRequest(
                f"{file.name}: it has {file.stat().st_size:,} bytes; the maximum of a file with words is "
                f"{MOST_WORDS_BYTES:,}. Use `kedro run --pipelines=predict` for it."
            )
        elif is_clip and (problem := not_media(file)):
            bad[file.name] = problem
        if not (folder / file.name).exists():  # also a bad clip, so that its words are not taken for another's
            os.link(file, folder / file.name)
    words = [file.name for file in given if file.suffix.lower() in (*TABLES, *SUBTITLES)]
    has_clips = any(spelling(file.name)[1] for file in given)
    if not has_clips and len(words) != 1:
        named = listed(sorted(file.name for file in given), 5)
        raise BadRequest(f"there is no clip among these files: {named}. Give clips, or one file with words.")
    utterances = own_utterances(str(folder), None) if has_clips else own_utterances(None, str(folder / words[0]))
    utterances = utterances[~utterances["clip"].map(lambda clip: Path(clip).name in bad)].reset_index(drop=True)
    if len(utterances) > MOST_UTTERANCES:
        raise BadRequest(
            f"there are {len(utterances):,} utterances; the page predicts at most {MOST_UTTERANCES}. Give fewer, or "
            "use `kedro run --pipelines=predict --params model=NAME,clips=FOLDER`."
        )
    too_long = utterances.apply(_too_long, axis=1, result_type="reduce", args=(str(folder), limits)).astype("str")
    refused = [*bad.values(), *too_long[too_long != ""]]
    return utterances[too_long == ""].reset_index(drop=True), refused


def _too_long(row: pd.Series, folder: str, limits: ServingParams) -> str:
    """Says so if the words of a row, or what a table says of its conversation, are too long; else ""."""
    conversation = "" if row["conversation_id"].startswith(folder) else row["conversation_id"]  # that of a file
    try:
        for column, text in (("text", row["text"]), ("speaker", row["speaker"]), ("conversation", conversation)):
            check_text(text, limits, column)
    except BadRequest as error:
        return f"{row['utterance']}: {error}"
    return ""


def _utterance(row: dict[Any, Any]) -> Utterance:
    is_span = row["clip"] and not pd.isna(row["start_milliseconds"])
    span = (int(row["start_milliseconds"]), int(row["end_milliseconds"])) if is_span else None
    clip = Path(row["clip"]) if row["clip"] else None
    return Utterance(clip, row["text"], row["utterance"], row["conversation_id"], row["speaker"], span)


def _results(
    memory: ModelsInMemory, predictor: Predictor, asked: Sequence[Utterance], progress: Progress
) -> list[Prediction | Refusal]:
    """A result for each utterance, in order; those of a conversation are in its order.

    What is refused is nobody's context, as in the pipeline `predict`: its neighbours are predicted again without it.
    """
    until = time.monotonic() + 60 * MOST_MINUTES
    around = [in_conversation(asked, number, predictor.context) for number in range(len(asked))]
    results: list[Prediction | Refusal | None] = []
    for number, utterance in enumerate(asked):
        is_late = time.monotonic() > until
        results.append(None if is_late else _result(memory, predictor, around[number], utterance.name))
        progress(number + 1, len(asked))
    kept = [number for number, result in enumerate(results) if not isinstance(result, Refusal)]
    for place, number in enumerate(kept):
        without_refused = in_conversation([asked[other] for other in kept], place, predictor.context)
        if results[number] is not None and without_refused != around[number]:
            results[number] = _result(memory, predictor, without_refused, asked[number].name)
    late = f"the page predicts for at most {MOST_MINUTES} minutes. Give fewer files."
    return [result or Refusal(of.name, late) for of, result in zip(asked, results, strict=True)]


def _result(memory: ModelsInMemory, predictor: Predictor, around: list[Utterance], name: str) -> Prediction | Refusal:
    try:
        result = predict_one(memory, predictor, around, name)
    except BadRequest as error:
        return Refusal(name, str(error).removeprefix(f"{name}: "))
    # Frames and sound of 300 utterances would take hundreds of megabytes.
    return result if isinstance(result, Refusal) else replace(result, frames=None, log_mel=None)


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


def _shown(
    predictions: pd.DataFrame, refused: list[str], said: list[str], folder: Path, originals: dict[str, Path]
) -> ManyAnswers:
    from trimood.reports.own_clips import draw_timelines, overview, spreadsheet, subtitles, timelines, write_page
    from trimood.scoring.own_clips import score_known

    predictions["video"] = [Path(clip).name for clip in predictions["clip"]]
    scores = score_known(predictions)
    page = folder / "predictions.html"
    page.write_text(write_page(predictions, refused, scores), encoding="utf-8")
    table = folder / "predictions.csv"
    for_spreadsheet(spreadsheet(predictions)).to_csv(table, index=False, lineterminator="\r\n")
    files = [table, page]
    for name, content in subtitles(predictions).items():
        files.append(folder / f"{name} with emotions.srt")
        files[-1].write_text(content, encoding="utf-8")
    of_videos = timelines(predictions)
    cues = predictions[predictions["start_milliseconds"].notna() & (predictions["clip"] != "")]
    return ManyAnswers(
        "\n\n".join([*overview(predictions, scores), *said]),
        _table(predictions),
        files,
        originals[cues["video"].iloc[0]] if len(cues) else None,
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
