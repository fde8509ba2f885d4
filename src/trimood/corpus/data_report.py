"""The schema of a data report (`report.json`): counts, findings, leakage and a verdict."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from trimood.config.parameters import Corpus
from trimood.corpus.published import Side

SIDES: tuple[Side, ...] = ("train", "official_validation", "official_test")

VerdictLevel = Literal["good", "usable", "annotations_only", "not_usable"]


class _Stored(BaseModel):
    """Immutable; rejects missing and unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class AnnotationFile(_Stored):
    """One side's annotation file: its counts, and those of the published file that it is or resembles.

    `file`, `generation` and `sha256` (its first 12 hexadecimal digits) are None if there is no file; the published
    figures are None or empty if it resembles no published file. `differs_in` lists the counts that differ.
    """

    file: str | None
    generation: str | None
    sha256: str | None
    conversations: int
    utterances: int
    labelled_utterances: int
    emotions: dict[str, int]
    published_as: str | None
    published_conversations: int | None
    published_utterances: int | None
    published_emotions: dict[str, int]
    differs_in: tuple[str, ...]
    unused_files: tuple[str, ...]


class AnnotationFiles(_Stored):
    """The annotation files of a corpus; `official_validation` is None for ECF, which has no such file."""

    corpus: Corpus = "ecf"
    train: AnnotationFile
    official_validation: AnnotationFile | None = None
    official_test: AnnotationFile

    def by_side(self) -> dict[Side, AnnotationFile]:
        """The files that the corpus has, in the order of SIDES."""
        files = zip(SIDES, (self.train, self.official_validation, self.official_test), strict=True)
        return {side: file for side, file in files if file}


class SplitState(_Stored):
    """Why the utterances cannot be split with the current parameters; None if they can."""

    problem: str | None


class LeakageProbe(_Stored):
    """Scores of copying the label of the nearest training utterance, and of the most frequent label.

    Counts may be fractions where they are means of several random splits. `share_with_neighbour` is the share of scored
    utterances that have a training utterance in their conversation.
    """

    training_utterances: float
    scored_utterances: float
    conversations_on_both_sides: float
    share_with_neighbour: float
    neighbour_macro_f1: float
    majority_macro_f1: float


class BetweenFiles(_Stored):
    """Overlap between the train file and the official test file."""

    conversations_in_both: int
    conversations_of_the_same_words: int
    test_utterances_verbatim_in_train: int
    texts_in_both: int


class WithinTrainFile(_Stored):
    """Utterances of a split whose text also occurs in the training split."""

    validation_utterances_verbatim_in_training: int
    held_out_utterances_verbatim_in_training: int


class Leakage(_Stored):
    """Leakage of each split, of random splits by utterance for comparison, and through repeated texts.

    `conversations_in_ecf`: how many conversations of each file of MELD have an utterance in ECF's train file and in its
    official test; None for another corpus, and if ECF's files do not lie beside MELD's.
    """

    splits: dict[str, LeakageProbe]
    random_by_utterance: LeakageProbe | None
    between_files: BetweenFiles
    within_train_file: WithinTrainFile
    conversations_in_ecf: dict[Side, dict[Side, int]] | None = None


class ClipCounts(_Stored):
    """Counts of utterances and their clips, hours of clips, and the most frequent formats as words.

    `usable` clips exist, and their pictures and sound can be decoded; the others are `left_out` (with the policy drop).
    `lack_one` clips lack either pictures or sound. `perhaps_wrong` counts the findings of data_summary.WRONG_CLIPS. If
    `are_looked_for` is false, clips are not in use, and nothing is known of them.
    """

    utterances: int
    there: int
    usable: int
    left_out: int
    official_test: int
    official_test_usable: int
    perhaps_wrong: dict[str, int]
    lack_one: int
    hours: float
    sizes: str
    frames_per_second: str
    video_codecs: str
    audio_codecs: str
    sample_rates_hz: str
    channels: str
    are_looked_for: bool = True


class SpanExtremes(_Stored):
    """The utterances with the shortest and the longest annotated span."""

    shortest: str
    shortest_seconds: float
    longest: str
    longest_seconds: float


class Verdict(_Stored):
    """Whether the corpus can be used: level, summary, reasons against a better level, and next steps in order.

    Good: every clip can be used, and no score misleads. Usable: with the limits that the reasons name. Annotations
    only: there is no clip, or none is looked for. Not usable: no valid training is possible.
    """

    level: VerdictLevel
    summary: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]


class DataReport(_Stored):
    """All results of a check of the data.

    `splits`: utterances in each split. `usable_training_utterances`: those with a usable clip, by emotion. `findings`:
    utterances with each of `findings.KINDS`, None if it could not be checked. `anomalies`: the counts of
    `anomalies.conversation_anomalies`. `published_anomalies`: the counts of both in the published file.
    """

    verdict: Verdict
    files: AnnotationFiles
    splits: dict[str, int]
    split_problem: str | None
    usable_training_utterances: dict[str, int]
    clips: ClipCounts
    spans: dict[Side, SpanExtremes]
    findings: dict[Side, dict[str, int | None]]
    anomalies: dict[Side, dict[str, int]]
    published_anomalies: dict[Side, dict[str, int]]
    leakage: Leakage
