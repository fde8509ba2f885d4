"""Nodes of the preprocessing stage."""

import logging
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from trimood.parameters import ClipParams

log = logging.getLogger(__name__)

NAMED = 20
"""How many bad clips an error names; the table of excluded clips holds them all."""


class BadClips(Exception):
    """Clips that cannot be used, under the policy that this is an error."""


def read_recipe(video_checkpoint: str, audio_checkpoint: str) -> dict[str, Any]:
    """What the checkpoints expect of a clip: frame count and size, mel bins and sample rate, from their config.json."""
    from trimood.media.audio import AudioRecipe
    from trimood.media.parts import Recipe
    from trimood.media.video import VideoRecipe
    from trimood.model.config import read_config
    from trimood.model.sources import locate

    video = read_config(locate(video_checkpoint, weights=False)).vision
    audio = read_config(locate(audio_checkpoint, weights=False)).vision
    return asdict(
        Recipe(
            video=VideoRecipe(frame_count=video.num_frames, frame_size_pixels=video.image_size),
            audio=AudioRecipe(mel_bins=audio.num_mel_bins, sample_rate_hz=audio.audio_sample_rate),
        )
    )


def prepare_split(
    utterances: pd.DataFrame, corpus: Path, recipe: dict[str, Any], prepared_clips: Path, clips: ClipParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A split's utterances with the prepared part of each clip, and those left out (utterance, clip, problem, message).

    Raises BadClips under `on_bad_clip: fail`; what was prepared stays in the cache.
    """
    from trimood.media.audio import AudioRecipe
    from trimood.media.cache import prepare_clips
    from trimood.media.parts import Recipe
    from trimood.media.video import VideoRecipe

    paths = {key: corpus / clip for key, clip in zip(utterances["utterance"], utterances["clip"], strict=True)}
    whole = Recipe(video=VideoRecipe(**recipe["video"]), audio=AudioRecipe(**recipe["audio"]))
    done = prepare_clips(paths, whole, prepared_clips, clips.workers or os.cpu_count() or 1)
    log.info(
        "%d clips: %d prepared before, %d now, %d with a problem",
        len(paths),
        done.hits,
        done.misses,
        len(done.problems),
    )

    bad = utterances["utterance"].isin(list(done.problems))
    excluded = utterances.loc[bad, ["utterance", "clip"]].reset_index(drop=True)
    excluded["problem"] = [done.problems[key].problem for key in excluded["utterance"]]
    excluded["message"] = [str(done.problems[key]) for key in excluded["utterance"]]
    if len(excluded) and clips.on_bad_clip == "fail":
        raise BadClips(_complaint(excluded, len(utterances), corpus))
    for message in excluded["message"]:
        log.warning("left out of every experiment: %s", message)

    examples = utterances.loc[~bad].reset_index(drop=True)
    examples["part"] = [done.parts[key].relative_to(prepared_clips).as_posix() for key in examples["utterance"]]
    return examples, excluded.astype("str")


def list_excluded(*excluded: pd.DataFrame) -> pd.DataFrame:
    """All clips that were left out, of every split, in one table."""
    return pd.concat(excluded, ignore_index=True)


def choose_test(official_test_examples: pd.DataFrame, held_out_examples: pd.DataFrame) -> pd.DataFrame:
    """The examples that are scored: those of a labelled official test file, else those held out of the train file."""
    return official_test_examples if len(official_test_examples) else held_out_examples


def _complaint(excluded: pd.DataFrame, total: int, corpus: Path) -> str:
    counts = ", ".join(f"{n} {problem}" for problem, n in excluded["problem"].value_counts().items())
    lines = [f"  {message}" for message in excluded["message"].head(NAMED)]
    if len(excluded) > NAMED:
        lines.append(f"  … and {len(excluded) - NAMED} more")
    return (
        f"{corpus}: {len(excluded)} of {total} clips cannot be used ({counts}):\n" + "\n".join(lines) + "\n"
        "Mend or fetch them again (what is prepared is kept), or leave them out of every experiment: "
        "--params data.clips.on_bad_clip=drop"
    )
