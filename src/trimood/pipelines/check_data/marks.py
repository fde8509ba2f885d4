"""Marks: for each utterance, which kinds of finding hold."""

import pandas as pd

from trimood.conversations.oddities import (
    pace_oddities,
    repeated_texts,
    span_seconds,
    utterance_oddities,
)
from trimood.pipelines.check_data.kinds import KINDS, NEEDS

DURATION_TOLERANCE_SECONDS = 0.3
"""A clip that is cut where it should be is as long as its span but for one frame (42 ms at 24 a second) at each end and
the blocks of its sound codec (AAC: 21 to 64 ms). What is cut at key frames is off by seconds."""

TRACKS_TOLERANCE_SECONDS = 0.5
QUIET_DBFS = -50.0
"""A whisper into a cheap microphone peaks at -40 dB or so."""

WANTED_FRAMES = 8


def mark(table: pd.DataFrame) -> pd.DataFrame:
    """The table with `clip_seconds`, a column of truth values for each of KINDS, `left_out`, and `findings` in words.

    Takes annotations with the columns of trimood.media.probe.ClipFacts.
    """
    sides = [utterance_oddities(rows) for _, rows in table.groupby("side", sort=False)]
    clip_seconds = table["video_seconds"].fillna(table["audio_seconds"])
    # What a broken clip says of its own length is worth nothing.
    whole_seconds = clip_seconds.where(table["video_problem"].isna())
    pace = pace_oddities(table["words"], whole_seconds.fillna(span_seconds(table)))
    marks = pd.concat([_clip_marks(table, whole_seconds), pace, pd.concat(sides)], axis=1)
    train = table.loc[table["side"] == "train", "text"]
    marks["text_in_training_file"] = repeated_texts(table["text"], train) & (table["side"] != "train")
    marks = marks[list(KINDS)].astype(bool)
    left_out = [name for name, kind in KINDS.items() if kind.weight == "left out"]
    noted = [name for name in KINDS if name != "tokenised_texts"]  # nearly all of ECF is: it would drown the others
    return table.assign(clip_seconds=clip_seconds, span_seconds=span_seconds(table)).join(
        marks.assign(
            left_out=marks[left_out].any(axis=1),
            findings=marks[noted].apply(lambda row: ", ".join(row.index[row]), axis=1).astype("str"),
        )
    )


def to_look_at(manifest: pd.DataFrame) -> pd.Series:
    """Rows with a finding of the weight "look"."""
    return manifest[[name for name, kind in KINDS.items() if kind.weight == "look"]].any(axis=1)


def looked_for(manifest: pd.DataFrame) -> dict[str, str | None]:
    """For each of KINDS, None if it could be looked for in these rows, else what is needed for it."""
    there = {
        "span": manifest["episode"].notna().any(),
        "broken": manifest["from_ecf"].any(),
        "in_meld": manifest["meld_split"].notna().any(),
        "meld_label": manifest["meld_emotion"].notna().any(),
    }
    missing = {start: need for start, need in NEEDS.items() if not there[start]}
    return {name: next((need for s, need in missing.items() if name.startswith(s)), None) for name in KINDS}


def _clip_marks(table: pd.DataFrame, whole_seconds: pd.Series) -> pd.DataFrame:
    video, audio = table["video_problem"], table["audio_problem"]
    both = {f"clip_{name}": video.eq(problem) for name, problem in _BOTH.items()}
    of_both = video.isin(list(_BOTH.values()))
    content = table["content"]
    return pd.DataFrame(
        {
            **both,
            "pictures_unreadable": video.notna() & ~of_both,
            **{name: audio.eq(problem) & ~of_both for name, problem in _SOUND.items()},
            "duration_differs": (whole_seconds - span_seconds(table)).abs() > DURATION_TOLERANCE_SECONDS,
            "sound_and_pictures_differ": audio.isna()
            & ((table["video_seconds"] - table["audio_seconds"]).abs() > TRACKS_TOLERANCE_SECONDS),
            "sound_nearly_silent": (table["peak_dbfs"] < QUIET_DBFS) & audio.isna(),
            "fewer_frames_than_wanted": (table["frame_count"] < WANTED_FRAMES) & video.isna(),
            "rotated": table["rotation_degrees"].fillna(0) != 0,
            "same_bytes": content.duplicated(keep=False) & content.notna(),
            "uneven_frames": table["variable_frame_rate"].fillna(False).astype(bool),
        }
    ).fillna(False)


_BOTH = {"missing": "missing", "timed_out": "timed out", "crashed": "crashed"}
_SOUND = {
    "sound_unreadable": "unreadable",
    "no_audio_track": "no audio track",
    "sound_silent": "silent",
    "sound_too_short": "too short",
}
