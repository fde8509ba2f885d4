"""Findings about utterances and their clips: the kinds of finding, and the findings of each utterance."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from trimood.config.parameters import Corpus
from trimood.corpus.anomalies import pace_anomalies, repeated_texts, span_seconds, utterance_anomalies

Weight = Literal["left_out", "check", "known"]
"""left_out: picture or sound cannot be used; check: usable, but should be checked; known: of the published files."""


@dataclass(frozen=True)
class Kind:
    """A kind of finding: `words` describe it, `advice` is a sentence on what to do."""

    weight: Weight
    words: str
    advice: str


SIDE_NAMES = {
    "train": "train file",
    "official_validation": "official validation file",
    "official_test": "official test file",
}

AGAIN = "Copy or cut them again."

KINDS: dict[str, Kind] = {
    "clip_missing": Kind("left_out", "the clip is missing", "Copy the files into the folder, under these names."),
    "pictures_unreadable": Kind("left_out", "the pictures cannot be decoded", AGAIN),
    "sound_unreadable": Kind("left_out", "the sound cannot be decoded", AGAIN),
    "no_audio_track": Kind("left_out", "there is no audio track", "Cut them again with their sound."),
    "sound_silent": Kind("left_out", "every sample of the sound is zero", "Listen to the source; cut them again."),
    "sound_too_short": Kind("left_out", "the sound is shorter than 25 ms", "Too short for speech: leave them out."),
    "clip_timed_out": Kind("left_out", "decoding took too long", "Cut again, or raise data.clips.time_limit_seconds."),
    "clip_crashed": Kind("left_out", "the decoder crashed", AGAIN),
    "duration_differs": Kind(
        "check", "the clip and its annotated span differ in length", "Watch some: they may be cut in the wrong place."
    ),
    "too_many_words": Kind("check", "more than 12 words a second", "Watch some: the span is too short for its words."),
    "too_few_words": Kind("check", "less than one word in five seconds", "Watch some: the span may be too long."),
    "sound_and_pictures_differ": Kind(
        "check", "sound and pictures differ in length by more than half a second", "Watch some: one may be cut off."
    ),
    "sound_nearly_silent": Kind("check", "the sound never exceeds -50 dB of full scale", "Listen to some."),
    "fewer_frames_than_wanted": Kind("check", "fewer than eight frames", "Nothing to do: frames are repeated."),
    "same_bytes": Kind("check", "the file is identical to another utterance's", "One is another utterance's clip."),
    "rotated": Kind("known", "the file asks players to rotate its pictures", "Handled: the pictures are rotated."),
    "uneven_frames": Kind("known", "frames are unevenly timed", "Handled: frames are chosen by their number."),
    "broken_in_meld": Kind("known", "the clip is broken or missing in MELD's own release", "No download helps."),
    "cut_wrongly_in_meld": Kind(
        "known", "MELD's own clip shows another scene", "Remove it, and use data.clips.on_bad_clip.missing=drop."
    ),
    "span_empty": Kind("known", "the annotated span has length zero", "No clip can be cut from it."),
    "span_under_half_second": Kind("known", "the annotated span is under half a second", "It holds hardly a word."),
    "span_over_half_minute": Kind(
        "known", "the annotated span is over half a minute", "The clip holds more than this utterance."
    ),
    "span_repeated": Kind("known", "the span is that of an earlier utterance", "Two utterances share one clip."),
    "text_in_training_file": Kind(
        "known", "the text occurs verbatim in the train file", "Mostly short answers: a model may remember their text."
    ),
    "typographic_texts": Kind(
        "known", "the text has curly quotes or accents", "Handled: quotes are straightened for the model."
    ),
    "tokenised_texts": Kind(
        "known", "the text is tokenised (“ ? !”, “do not”)", "Write new text in the same way before predicting it."
    ),
    "in_meld_test": Kind(
        "known",
        "the training utterance is in MELD's test split",
        "Use no encoder that was trained or tested on MELD: its scores would leak.",
    ),
    "meld_label_differs": Kind("known", "MELD has another label", "ECF was labelled again: do not mix the two."),
    "in_ecf_test": Kind(
        "known",
        "the utterance is in ECF's official test",
        "Train no model on it that is tested on ECF: its scores would leak.",
    ),
    "in_ecf_train": Kind(
        "known",
        "the utterance is in ECF's train file",
        "Test no model on it that was trained on ECF: its scores would leak.",
    ),
}

NEEDS = {
    "span": "the spans: video_source in the file, or train_video_source_from_MECPE.json beside it",
    "broken": "ECF's own train file",
    "in_meld": "the map all_data_pair_ECFvsMELD.txt in the corpus folder",
    "meld_label": "MELD's train_sent_emo.csv, dev_sent_emo.csv and test_sent_emo.csv beside the map",
    "in_ecf": "ECF's Subtask_2_train.json and Subtask_2_test.json beside MELD's files",
}
"""The input required to check for the kinds whose names start with the key."""

OF_CLIPS = ("clip_", "pictures_", "sound_", "no_audio", "duration_", "fewer_", "same_", "rotated", "uneven_")
"""Starts of the names of kinds that are found in the clips."""

ONLY_OF: dict[str, Corpus] = {"in_meld": "ecf", "meld_label": "ecf", "in_ecf": "meld", "cut_wrongly": "meld"}
"""The corpus of the kinds whose names start with the key; a copy of the other one is not checked for them."""

DURATION_TOLERANCE_SECONDS = 0.3
"""A correct clip differs from its span by at most one frame (42 ms at 24 frames per second) at each end and the block
size of its audio codec (AAC: 21 to 64 ms). A clip that was cut at key frames differs by seconds."""

TRACKS_TOLERANCE_SECONDS = 0.5
QUIET_DBFS = -50.0
"""A whisper into a cheap microphone peaks at about -40 dB."""

WANTED_FRAMES = 8


def mark(table: pd.DataFrame) -> pd.DataFrame:
    """Adds `clip_seconds`, a boolean column for each of KINDS, `left_out`, and `findings` (names of kinds, one string).

    `table` has the columns of `corpus_files.read_annotations` and of `media.probe.ClipFacts`.
    """
    sides = [utterance_anomalies(rows) for _, rows in table.groupby("side", sort=False)]
    clip_seconds = table["video_seconds"].fillna(table["audio_seconds"])
    # The duration in a broken clip's header is not reliable.
    whole_seconds = clip_seconds.where(table["video_problem"].isna())
    pace = pace_anomalies(table["words"], whole_seconds.fillna(span_seconds(table)))
    marks = pd.concat([_clip_marks(table, whole_seconds), pace, pd.concat(sides)], axis=1)
    train = table.loc[table["side"] == "train", "text"]
    marks["in_ecf_test"] = table["in_ecf"].eq("official_test").fillna(False)
    marks["in_ecf_train"] = table["in_ecf"].eq("train").fillna(False)
    marks["text_in_training_file"] = repeated_texts(table["text"], train) & (table["side"] != "train")
    marks = marks[list(KINDS)].astype(bool)
    left_out = [name for name, kind in KINDS.items() if kind.weight == "left_out"]
    noted = [name for name in KINDS if name != "tokenised_texts"]  # in nearly all of ECF: it would hide the others
    return table.assign(clip_seconds=clip_seconds, span_seconds=span_seconds(table)).join(
        marks.assign(
            left_out=marks[left_out].any(axis=1),
            findings=marks[noted].apply(lambda row: ", ".join(row.index[row]), axis=1).astype("str"),
        )
    )


def to_check(manifest: pd.DataFrame) -> pd.Series:
    """Rows with a finding of the weight "check"."""
    return manifest[[name for name, kind in KINDS.items() if kind.weight == "check"]].any(axis=1)


def clips_are_looked_for(manifest: pd.DataFrame) -> bool:
    """Whether anything is known of a clip, even that it is missing."""
    return bool(manifest[["content", "video_problem"]].notna().any(axis=None))


def looked_for(manifest: pd.DataFrame) -> dict[str, str | None]:
    """For each of KINDS, the input that these rows lack to check for it; None if nothing is missing."""
    is_meld = manifest["corpus"].eq("meld").any()
    there = {
        "span": manifest["episode"].notna().any(),
        "broken": is_meld or manifest["from_ecf"].any(),
        "in_meld": manifest["meld_split"].notna().any(),
        "meld_label": manifest["meld_emotion"].notna().any(),
        "in_ecf": manifest["in_ecf"].notna().any(),
    }
    missing = {start: f"a copy of {of}" for start, of in ONLY_OF.items() if is_meld != (of == "meld")}
    missing |= {start: need for start, need in NEEDS.items() if not there[start]}
    if not clips_are_looked_for(manifest):
        missing |= dict.fromkeys(OF_CLIPS, "the clips, which data.clips.in_use=false does not look for")
    return {name: next((need for s, need in missing.items() if name.startswith(s)), None) for name in KINDS}


def _clip_marks(table: pd.DataFrame, whole_seconds: pd.Series) -> pd.DataFrame:
    video, audio = table["video_problem"], table["audio_problem"]
    of_both = video.isin(_BOTH)
    content = table["content"]
    return pd.DataFrame(
        {
            **{f"clip_{problem}": video.eq(problem) for problem in _BOTH},
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


_BOTH = ("missing", "timed_out", "crashed")
"""Problems of the whole clip, not of its pictures or its sound alone."""

_SOUND = {
    "sound_unreadable": "unreadable",
    "no_audio_track": "no_audio_track",
    "sound_silent": "silent",
    "sound_too_short": "too_short",
}
