"""Nodes of the preprocessing stage."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from upath import UPath

from trimood.config.parameters import ClipParams
from trimood.config.plan import ExampleFingerprints
from trimood.corpus.preparation import BadClips, error_message, log_exclusions, table_of_problems
from trimood.tracking.store import examples_fingerprint

log = logging.getLogger(__name__)


def read_recipe(video_checkpoint: str, audio_checkpoint: str, clips: ClipParams) -> dict[str, Any]:
    """What the checkpoints expect of a clip: frame count and size, mel bins and sample rate, from their config.json.

    With it, what reads the frames.
    """
    from trimood.learning.setup import clip_recipe

    return asdict(clip_recipe({"video": video_checkpoint, "audio": audio_checkpoint}, clips.reader))


def prepare_split(
    utterances: pd.DataFrame, corpus: Path, recipe: dict[str, Any], prepared_clips: Path | UPath, clips: ClipParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A split's utterances with `part`, `has_video` and `has_audio`, and a table of those whose clip has a problem.

    What is dropped is only in the second table (utterance, clip, modality, problem, policy, message), what is blanked
    in both. Raises BadClips where the policy for a problem is `fail`; what was prepared stays in the cache.
    """
    from trimood.media.audio import AudioRecipe
    from trimood.media.cache import prepare_clips
    from trimood.media.execution import Execution
    from trimood.media.parts import Recipe, place_in_cache
    from trimood.media.video import VideoRecipe

    whole = Recipe(video=VideoRecipe(**recipe["video"]), audio=AudioRecipe(**recipe["audio"]))
    names = dict(zip(utterances["utterance"], utterances["clip"], strict=True))
    execution = Execution(clips.executor, clips.workers, clips.time_limit_seconds)
    done = prepare_clips({key: corpus / clip for key, clip in names.items()}, whole, prepared_clips, execution)

    bad = table_of_problems({key: names[key] for key in done.problems}, done.problems, clips)
    if (bad["policy"] == "fail").any():
        raise BadClips(error_message(bad[bad["policy"] == "fail"], len(utterances), corpus))
    log_exclusions(bad, len(utterances))

    dropped = bad.loc[bad["policy"] == "drop", "utterance"]
    examples = utterances[~utterances["utterance"].isin(dropped)].reset_index(drop=True)
    lacking = [set(done.problems.get(key, ())) for key in examples["utterance"]]
    examples["part"] = [
        "" if len(lacks) == 2 else place_in_cache(done.parts[key])
        for key, lacks in zip(examples["utterance"], lacking, strict=True)
    ]
    examples["has_video"] = pd.Series(["video" not in lacks for lacks in lacking], dtype="bool")
    examples["has_audio"] = pd.Series(["audio" not in lacks for lacks in lacking], dtype="bool")
    return examples, bad


def list_excluded(*excluded: pd.DataFrame) -> pd.DataFrame:
    """All clips that were left out or blanked, of every split, in one table."""
    return pd.concat(excluded, ignore_index=True)


def choose_test(official_test_examples: pd.DataFrame, held_out_examples: pd.DataFrame) -> pd.DataFrame:
    """The examples that are scored: those of a labelled official test file, else those held out of the train file."""
    chosen = official_test_examples if len(official_test_examples) else held_out_examples
    if chosen.empty:
        log.warning(
            "No test utterance has a clip that can be used: nothing will be scored but validation. Bring the clips of "
            "the official test, or take its file out of the corpus folder: then a part of the train file is held out"
        )
    return chosen


def fingerprint_examples(
    training_examples: pd.DataFrame, validation_examples: pd.DataFrame, test_examples: pd.DataFrame
) -> ExampleFingerprints:
    """Twelve hexadecimal digits for each table: weights carry them, and are evaluated on these examples only."""
    return ExampleFingerprints(
        training=examples_fingerprint(training_examples),
        validation=examples_fingerprint(validation_examples),
        test=examples_fingerprint(test_examples),
    )


def draw_contact_sheet(training_examples: pd.DataFrame, prepared_clips: Path | UPath):  # type: ignore[no-untyped-def]
    """Frames, log-mel energies and words of one utterance of each emotion, as a matplotlib Figure."""
    from trimood.reports.clips import contact_sheet

    return contact_sheet(training_examples, prepared_clips)
