"""Prepares a user's own utterances as examples, with the reason for each absent modality."""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.corpus.preparation import with_parts
from trimood.corpus.tables import ABSENCE_COLUMNS, REFUSED_COLUMNS
from trimood.emotions import Modality
from trimood.media.errors import ClipError, in_words
from trimood.media.execution import Execution
from trimood.media.parts import Location, Problems
from trimood.serving.trained_model import TrainedModel

log = logging.getLogger(__name__)

_LONGEST_NAME_BYTES = 200
"""File systems allow 255, with the ending."""


def cut_spans(utterances: pd.DataFrame, folder: Path, execution: Execution) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Cuts the utterances that are spans of a longer video into files in `folder`.

    Returns the utterances with `clip` changed to these files, and a table of spans that cannot be cut
    (REFUSED_COLUMNS). Spans that are already cut are kept.
    """
    from trimood.media.cutting import CutRecipe, Span, cut_all  # imports torch

    moved = utterances.copy()
    spans = []
    row: Any  # pandas-stubs cannot know the columns
    for row in utterances[utterances["start_milliseconds"].notna() & (utterances["clip"] != "")].itertuples():
        clip = folder / f"{_file_name(row.utterance)}.mp4"
        spans.append(Span(clip, Path(row.clip), int(row.start_milliseconds), int(row.end_milliseconds), True))
        moved.loc[row.Index, "clip"] = str(clip)
    problems: dict[str, str] = {}
    outlasting = 0
    for span, cut in cut_all(spans, CutRecipe(audio_language=""), execution):
        if isinstance(cut, ClipError) or cut.state == "refused":
            problems[str(span.clip)] = f"{in_words(cut.problem)}: {cut.detail}"
        else:
            outlasting += 1000 * cut.video_seconds < span.end_milliseconds - span.start_milliseconds - 2
    if outlasting:
        log.info("%d cues end after their clip does and are cut at its end", outlasting)
    moved["message"] = moved["clip"].map(problems).astype("str")
    fails = moved["message"].notna()
    refused = moved.loc[fails, REFUSED_COLUMNS]
    return moved[~fails].drop(columns="message").reset_index(drop=True), refused.reset_index(drop=True)


def _file_name(utterance: str) -> str:
    """The name of an utterance, or its beginning and a digest: with the number of a cue, a name may become too long."""
    folder, slash, name = utterance.rpartition("/")
    whole = name.encode()
    if len(whole) <= _LONGEST_NAME_BYTES:
        return utterance
    begun = whole[:_LONGEST_NAME_BYTES].decode(errors="ignore")
    return f"{folder}{slash}{begun}_{hashlib.blake2b(whole, digest_size=8).hexdigest()}"


def prepare_own(
    utterances: pd.DataFrame, trained: TrainedModel, prepared_clips: Location, execution: Execution
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns examples of the utterances that can be predicted, and a table of the others (REFUSED_COLUMNS).

    `utterances` has utterance (a key), text and clip (path or ""). Examples get PREPARED_COLUMNS and ABSENCE_COLUMNS.
    An utterance is refused if its clip has no usable picture and no usable sound, or if it lacks every modality of the
    model.
    """
    clips = {key: Path(clip) for key, clip in zip(utterances["utterance"], utterances["clip"], strict=True) if clip}
    table, problems = with_parts(utterances, clips, trained.recipe, prepared_clips, execution)
    rows, refused = [], []
    for row in table.to_dict("records"):
        errors = problems.get(row["utterance"], {})
        absent = _absent(row, errors)
        why_not = {modality: absent.get(modality, "") for modality in trained.modalities}
        if len(errors) == 2:
            message = "; ".join({f"{in_words(e.problem)}: {e.detail}": None for e in errors.values()})
        elif all(why_not.values()):
            reasons = ", ".join(f"{modality} ({reason})" for modality, reason in why_not.items())
            message = f"it lacks every modality that {trained.name} uses: {reasons}"
        else:
            rows.append(row | {column: why_not.get(modality, "") for modality, column in ABSENCE_COLUMNS.items()})
            continue
        refused.append((row["utterance"], row["clip"], message))
    examples = pd.DataFrame(rows, columns=[*table.columns, *ABSENCE_COLUMNS.values()]).astype(dict(table.dtypes))
    return examples, pd.DataFrame(refused, columns=REFUSED_COLUMNS, dtype="str")


def _absent(row: Mapping[Any, str], problems: Problems) -> dict[Modality, str]:
    """The modalities that the utterance lacks, each with the reason."""
    absent: dict[Modality, str] = {modality: in_words(error.problem) for modality, error in problems.items()}
    if not row["clip"]:
        absent = {"video": "no clip", "audio": "no clip"}
    if not row["text"].strip():
        absent["text"] = "no words"
    return absent
