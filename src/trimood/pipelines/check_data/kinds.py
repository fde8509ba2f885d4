"""Every kind of finding about an utterance: what it is called, how much it weighs, and what a reader is to do."""

from dataclasses import dataclass
from typing import Literal

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
