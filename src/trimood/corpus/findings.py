"""What can be found about an utterance and its clip: every kind of finding, and for each utterance which kinds hold."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from trimood.corpus.anomalies import (
    pace_anomalies,
    repeated_texts,
    span_seconds,
    utterance_anomalies,
)

Weight = Literal["left out", "look", "known"]
"""The utterance cannot be used whole; it can, but someone should look; it is so in the published corpus, too."""


@dataclass(frozen=True)
class Kind:
    """`words` go on from "12 utterances: "; `advice` is a whole sentence."""

    weight: Weight
    words: str
    advice: str


SIDE_NAMES = {"train": "train file", "official_test": "official test file"}

AGAIN = "Copy or cut them again."

KINDS: dict[str, Kind] = {
    "clip_missing": Kind("left out", "there is no clip", "Copy the missing files into the folder, under these names."),
    "pictures_unreadable": Kind("left out", "the pictures cannot be decoded", AGAIN),
    "sound_unreadable": Kind("left out", "the sound cannot be decoded", AGAIN),
    "no_audio_track": Kind("left out", "there is no sound track", "Cut them again with their sound."),
    "sound_silent": Kind("left out", "every sample of the sound is zero", "Listen to the source; cut them again."),
    "sound_too_short": Kind(
        "left out", "the sound is shorter than 25 ms", "Nothing can be heard in so little: leave out."
    ),
    "clip_timed_out": Kind(
        "left out", "decoding took too long", "Cut them again, or raise data.clips.time_limit_seconds."
    ),
    "clip_crashed": Kind("left out", "the decoder crashed", AGAIN),
    "duration_differs": Kind(
        "look", "the clip is not as long as its annotated span", "Watch some: they may be cut in the wrong place."
    ),
    "too_many_words": Kind(
        "look", "more than 12 words a second", "Watch some: the span is too short for what is said."
    ),
    "too_few_words": Kind("look", "less than one word in five seconds", "Watch some: the span may run on too long."),
    "sound_and_pictures_differ": Kind(
        "look", "sound and pictures differ in length by more than half a second", "Watch some: one may be cut off."
    ),
    "sound_nearly_silent": Kind("look", "the sound never rises above -50 dB of full scale", "Listen to some."),
    "fewer_frames_than_wanted": Kind("look", "fewer than eight frames", "Frames are repeated; nothing need be done."),
    "same_bytes": Kind(
        "look", "the file is identical to another utterance's", "One of the two is somebody else's clip."
    ),
    "rotated": Kind("known", "the file asks for its pictures to be turned", "Handled: they are turned."),
    "uneven_frames": Kind("known", "frames are unevenly timed", "Handled: frames are chosen by their number."),
    "broken_in_meld": Kind(
        "known", "the clip is broken or missing in MELD's own release", "No second download mends it."
    ),
    "span_empty": Kind("known", "the annotated span has no length", "No clip can be cut of it."),
    "span_under_half_second": Kind("known", "the annotated span is under half a second", "Hardly a word fits in."),
    "span_over_half_minute": Kind("known", "the annotated span is over half a minute", "Much else is in the clip."),
    "span_repeated": Kind("known", "the span is that of an earlier utterance", "Two utterances share one clip."),
    "text_in_training_file": Kind(
        "known", "the words stand verbatim in the train file", "Short answers, mostly: words alone may be remembered."
    ),
    "typographic_texts": Kind("known", "curly quotes or accents in the text", "Read as UTF-8; tokenizers take them."),
    "tokenised_texts": Kind(
        "known", "the text is tokenised (“ ? !”, “do not”)", "Write new text in the same way before you predict on it."
    ),
    "in_meld_test": Kind(
        "known",
        "the training utterance stands in MELD's test split",
        "Take no encoder that was trained or tested on MELD: its scores would leak.",
    ),
    "meld_label_differs": Kind("known", "MELD gives another label", "ECF was labelled anew: do not mix the two."),
}

NEEDS = {
    "span": "the spans: video_source in the file, or train_video_source_from_MECPE.json beside it",
    "broken": "ECF's own train file",
    "in_meld": "the map all_data_pair_ECFvsMELD.txt in the corpus folder",
    "meld_label": "MELD's train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv beside the map",
}
"""What a kind whose name begins so cannot be looked for without."""


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
    sides = [utterance_anomalies(rows) for _, rows in table.groupby("side", sort=False)]
    clip_seconds = table["video_seconds"].fillna(table["audio_seconds"])
    # What a broken clip says of its own length is worth nothing.
    whole_seconds = clip_seconds.where(table["video_problem"].isna())
    pace = pace_anomalies(table["words"], whole_seconds.fillna(span_seconds(table)))
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


_BOTH = {"missing": "missing", "timed_out": "timed_out", "crashed": "crashed"}
_SOUND = {
    "sound_unreadable": "unreadable",
    "no_audio_track": "no_audio_track",
    "sound_silent": "silent",
    "sound_too_short": "too_short",
}
