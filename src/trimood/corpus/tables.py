"""The columns of every table of utterances, in order, with their pandas types; Parquet files keep both."""

from typing import NotRequired, TypedDict

from trimood.config.parameters import Corpus
from trimood.emotions import MODALITIES


class FileFacts(TypedDict):
    """An annotation file: name, generation and fingerprint (None without a file), and counts of its utterances."""

    file: str | None
    generation: str | None
    sha256: str | None
    conversations: int
    utterances: int
    labelled_utterances: int


class TrainFileFacts(FileFacts):
    """The same of the train file, and its utterances by emotion."""

    emotions: dict[str, int]


class CorpusDescription(TypedDict):
    """The files of a corpus; `clips` counts in whose folders the training clips are, if some are in MELD's.

    `corpus` is absent from descriptions of earlier versions, which read ECF only. `official_validation` is a file of
    its own for the validation split, which ECF has not.
    """

    corpus: NotRequired[Corpus]
    train: TrainFileFacts
    official_validation: NotRequired[FileFacts]
    official_test: FileFacts
    has_official_test: bool
    official_test_is_labelled: bool
    clips: NotRequired[dict[str, object]]


UTTERANCE_COLUMNS = {
    "utterance": "str",  # key of the row, "dia12utt3"
    "conversation_id": "int64",
    "utterance_id": "int64",  # position in the conversation as annotated, from 1
    "speaker": "str",
    "text": "str",
    "emotion": "str",  # missing if the file is unlabelled
    "label": "Int8",  # class number in the order of EMOTIONS; missing with the emotion
    "clip": "str",  # relative to the corpus folder, "train/dia12utt3.mp4"; absolute for a clip elsewhere
}
"""Utterances of annotation files."""

OWN_UTTERANCE_COLUMNS = {
    "utterance": "str",  # the clip's name without extension, "dia1utt2"; for a cue of subtitles "episode_003"
    "text": "str",  # "" without words
    "clip": "str",  # path; "" for words alone
    "start_milliseconds": "Int64",  # of the span within the clip; missing if the whole clip is the utterance
    "end_milliseconds": "Int64",
    "conversation_id": "str",  # of subtitles, or as the table of words says; "" if the utterance stands alone
    "utterance_id": "int64",  # place in the conversation
    "speaker": "str",  # "" if nobody says
    "emotion": "str",  # the true one, "" if unknown
}
"""Utterances of the user's own clips and words."""

PREPARED_COLUMNS = {
    "part": "str",  # the prepared clip within the folder of prepared clips; "" without picture and sound
    "has_video": "bool",
    "has_audio": "bool",
}
"""Columns that the preparation of clips adds to a table of utterances."""

ABSENCE_COLUMNS = {modality: f"no_{modality}" for modality in MODALITIES}
"""Columns of the user's own examples, by modality: why a modality that the model uses is absent, else ""."""

PROBLEM_COLUMNS = ["utterance", "clip", "modality", "problem", "policy", "message"]
"""Clips with a problem; if picture and sound have different ones, `problem` and `modality` join two with " and "."""

REFUSED_COLUMNS = ["utterance", "clip", "message"]
"""The user's own utterances that cannot be predicted."""

MAP_COLUMNS = {
    "utterance": "str",  # ECF's key, "dia564utt4"
    "emotion": "str",  # ECF's label, repeated in the map; MELD's labels are only in MELD's own files
    "meld_split": "str",  # train, dev or test; this and all later columns are missing if the utterance is not in MELD
    "meld_dialogue": "Int64",
    "meld_utterance": "Int64",
    "meld_clip": "str",  # relative to the folder of MELD's clips, "train_splits/dia125_utt3.mp4"
    "meld_emotion": "str",  # also missing if MELD's own label is unknown
}
"""ECF's map to MELD."""

MELD_COLUMNS = {name: MAP_COLUMNS[name] for name in ("meld_split", "meld_clip", "meld_emotion")}
"""The columns of the map that a check of the data uses."""

SPAN_COLUMNS = {"utterance": "str", "episode": "str", "start_seconds": "float64", "end_seconds": "float64"}
"""Spans of utterances in episodes."""

CUT_COLUMNS = {
    "state": "str",  # cut, kept or refused
    "problem": "str",  # identifier, for refused clips
    "detail": "str",
    "episode_file": "str",  # relative to the folder of episodes
    "frame_count": "int64",
    "video_seconds": "float64",
    "audio_seconds": "float64",
    "audio_track": "str",
}
"""Columns that cutting adds to a table of spans."""
