"""Nodes of the preprocessing stage."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter
from upath import UPath

from trimood.config.parameters import ClipParams
from trimood.corpus.preparation import BadClips, error_message, log_exclusions, table_of_problems, with_parts
from trimood.corpus.tables import PREPARED_COLUMNS
from trimood.emotions import Source
from trimood.reports.drawings import Drawing, one_of_each_emotion

log = logging.getLogger(__name__)


def read_recipe(video_checkpoint: str, audio_checkpoint: str, clips: ClipParams) -> dict[str, object]:
    """Returns a media.parts.Recipe as JSON: frames, mel bins and sample rate as the checkpoints' config.json say.

    If clips are not in use, no checkpoint is looked for.
    """
    from trimood.model.checkpoints import clip_recipe

    both: Mapping[Source, str] = {"video": video_checkpoint, "audio": audio_checkpoint}
    checkpoints = both if clips.in_use else {}
    return asdict(clip_recipe(checkpoints, clips.reader, clips.stereo))


def prepare_split(
    utterances: pd.DataFrame,
    corpus: Path,
    recipe: Mapping[str, object],
    prepared_clips: Path | UPath,
    clip_digests: Path,
    clips: ClipParams,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Prepares a split's clips; returns examples (PREPARED_COLUMNS) and a table of bad clips (PROBLEM_COLUMNS).

    Dropped utterances are only in the second table, blanked ones in both. `clip_digests` keeps what the clips
    contained, so that an unchanged one is not read again. Raises BadClips if the policy for a problem is `fail`;
    prepared clips are kept in the cache. If clips are not in use, none is looked for, and no utterance has one.
    """
    if not clips.in_use:
        nothing = utterances.assign(part="", has_video=False, has_audio=False).astype(PREPARED_COLUMNS)
        return nothing, table_of_problems({}, {}, clips)
    from trimood.media.contents import Known
    from trimood.media.execution import Execution
    from trimood.media.recipes import Recipe

    whole = TypeAdapter(Recipe).validate_python(recipe)
    names = dict(zip(utterances["utterance"], utterances["clip"], strict=True))
    execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
    paths = {key: corpus / clip for key, clip in names.items()}
    examples, problems = with_parts(
        utterances, paths, whole, prepared_clips, execution, Known(clip_digests, clips.hash_again)
    )

    bad = table_of_problems(names, problems, clips)
    if (bad["policy"] == "fail").any():
        raise BadClips(error_message(bad[bad["policy"] == "fail"], len(utterances), corpus))
    log_exclusions(bad, len(utterances))
    dropped = bad.loc[bad["policy"] == "drop", "utterance"]
    return examples[~examples["utterance"].isin(dropped)].reset_index(drop=True), bad


def list_excluded(*excluded: pd.DataFrame) -> pd.DataFrame:
    """Joins the tables of dropped and blanked clips of all splits."""
    return pd.concat(excluded, ignore_index=True)


def choose_test(official_test_examples: pd.DataFrame, held_out_examples: pd.DataFrame) -> pd.DataFrame:
    """Returns the labelled examples of the official test, or else those held out of the train file."""
    chosen = official_test_examples if len(official_test_examples) else held_out_examples
    if chosen.empty:
        log.warning(
            "No test utterance has a usable clip: only validation will be scored. Add the clips of the official test, "
            "or remove its file from the corpus folder, so that a part of the train file is held out for testing"
        )
    return chosen


def draw_contact_sheet(training_examples: pd.DataFrame, prepared_clips: Path | UPath) -> Drawing:
    """Draws frames, log-mel energies and text of one utterance of each emotion.

    A part is named by its content, so these columns are all that the sheet shows.
    """
    shown = one_of_each_emotion(training_examples)[["utterance", "emotion", "text", "part", "has_video", "has_audio"]]

    def draw() -> Any:
        from trimood.reports.clips import contact_sheet

        return contact_sheet(training_examples, prepared_clips)

    return Drawing(draw, shown)
