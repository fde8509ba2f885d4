"""The data report of a corpus: counts, findings, leakage and a verdict. The classes are the schema of `report.json`."""

from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from trimood.config.parameters import listed
from trimood.corpus.anomalies import conversation_anomalies
from trimood.corpus.findings import KINDS, looked_for
from trimood.corpus.published import GENERATIONS, Side
from trimood.emotions import EMOTIONS

SIDES: tuple[Side, ...] = ("train", "official_test")

VerdictLevel = Literal["good", "usable", "annotations_only", "not_usable"]

FEWEST_USABLE = 0.5
"""A corpus with a smaller share of usable clips is not usable: missing clips have to be added, not dropped."""

WRONG_CLIPS = (
    "same_bytes",
    "duration_differs",
    "sound_and_pictures_differ",
    "sound_nearly_silent",
    "too_many_words",
)
"""Kinds of finding that may be chance in single clips, but point to a wrong folder, cut or conversion in many."""

SUSPICIOUS_SHARE = 0.05
"""Of the existing clips. In ECF, 1 % have too many words a second, and 0.2 % the span of an earlier utterance."""


class _Stored(BaseModel):
    """Immutable; a stored file with missing or unknown keys is refused."""

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
    """The annotation files of both sides."""

    train: AnnotationFile
    official_test: AnnotationFile

    def by_side(self) -> dict[Side, AnnotationFile]:
        """Both files, in the order of SIDES."""
        return {"train": self.train, "official_test": self.official_test}


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
    """What the train file and the official test file have in common."""

    conversations_in_both: int
    conversations_of_the_same_words: int
    test_utterances_verbatim_in_train: int
    texts_in_both: int


class WithinTrainFile(_Stored):
    """Utterances of a split whose text also occurs in the training split."""

    validation_utterances_verbatim_in_training: int
    held_out_utterances_verbatim_in_training: int


class Leakage(_Stored):
    """How much the splits give away: by split, for random splits by utterance, and in repeated texts."""

    splits: dict[str, LeakageProbe]
    random_by_utterance: LeakageProbe | None
    between_files: BetweenFiles
    within_train_file: WithinTrainFile


class ClipCounts(_Stored):
    """Counts of utterances and their clips, hours of clips, and the most frequent formats as words.

    `usable` clips exist and decode, pictures and sound; the others are `left_out` (under the policy drop). Those of
    `lack_one` lack either pictures or sound. `perhaps_wrong` counts the findings of WRONG_CLIPS.
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


class SpanExtremes(_Stored):
    """The utterances with the shortest and the longest annotated span."""

    shortest: str
    shortest_seconds: float
    longest: str
    longest_seconds: float


class Verdict(_Stored):
    """Whether the corpus can be used: the level, a sentence, the reasons for no better level, and what to do, in order.

    Good: every clip can be used, and no score misleads. Usable: with the limits that the reasons name. Annotations
    only: there is no clip. Not usable: no valid training is possible.
    """

    level: VerdictLevel
    summary: str
    reasons: tuple[str, ...]
    next_steps: tuple[str, ...]


class DataReport(_Stored):
    """Everything that a check of the data found.

    `splits` has the number of utterances in each split, `usable_training_utterances` those with a usable clip by
    emotion. `findings` counts the utterances of each of `findings.KINDS`, None where it could not be looked for;
    `anomalies` those of `anomalies.conversation_anomalies`, and `published_anomalies` both in the published file.
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


def summarise(
    manifest: pd.DataFrame, annotation_files: AnnotationFiles, split_state: SplitState, leakage: Leakage
) -> DataReport:
    """Counts of the manifest, and the verdict on the corpus."""
    sides: dict[Side, pd.DataFrame] = {side: manifest[manifest["side"] == side] for side in SIDES}
    clips = _clips(manifest)
    emotions = _usable_by_emotion(manifest)
    training = manifest[manifest["split"] == "training"]
    lost = [emotion for emotion in EMOTIONS if not emotions[emotion] and (training["emotion"] == emotion).any()]
    return DataReport(
        verdict=judge(annotation_files, split_state, leakage, clips, lost),
        files=annotation_files,
        splits={str(name): int(n) for name, n in manifest["split"].value_counts().items() if name != "none"},
        split_problem=split_state.problem,
        usable_training_utterances=emotions,
        clips=clips,
        spans={side: _extremes(rows) for side, rows in sides.items() if rows["span_seconds"].notna().any()},
        findings={side: _findings(rows) for side, rows in sides.items() if len(rows)},
        anomalies={side: conversation_anomalies(rows) for side, rows in sides.items() if len(rows)},
        published_anomalies={side: _published(file) for side, file in annotation_files.by_side().items()},
        leakage=leakage,
    )


def _clips(manifest: pd.DataFrame) -> ClipCounts:
    there = manifest[~manifest["clip_missing"]]
    official_test = manifest[manifest["split"] == "official_test"]
    return ClipCounts(
        utterances=len(manifest),
        there=len(there),
        usable=int((~manifest["left_out"]).sum()),
        left_out=int(manifest["left_out"].sum()),
        official_test=len(official_test),
        official_test_usable=int((~official_test["left_out"]).sum()),
        perhaps_wrong={kind: int(there[kind].sum()) for kind in WRONG_CLIPS},
        lack_one=int((there["video_problem"].isna() != there["audio_problem"].isna()).sum()),
        hours=round(float(there["clip_seconds"].sum()) / 3600, 3),
        sizes=_most_frequent(there["width"].astype("str") + "×" + there["height"].astype("str"), there["width"]),
        frames_per_second=_most_frequent(there["frames_per_second"].round(2).astype("str"), there["frames_per_second"]),
        video_codecs=_most_frequent(there["video_codec"], there["video_codec"]),
        audio_codecs=_most_frequent(there["audio_codec"], there["audio_codec"]),
        sample_rates_hz=_most_frequent(there["sample_rate_hz"].astype("str"), there["sample_rate_hz"]),
        channels=_most_frequent(there["channels"].astype("str"), there["channels"]),
    )


def _extremes(rows: pd.DataFrame) -> SpanExtremes:
    spans = rows.dropna(subset="span_seconds").set_index("utterance")["span_seconds"]
    return SpanExtremes(
        shortest=str(spans.idxmin()),
        shortest_seconds=float(spans.min()),
        longest=str(spans.idxmax()),
        longest_seconds=float(spans.max()),
    )


def _most_frequent(values: pd.Series, known: pd.Series, shown: int = 6) -> str:
    """The most frequent values with their counts, as words: MLflow would make a metric of each number."""
    counts = values[known.notna()].value_counts()
    return listed([f"{value} ({count:,})" for value, count in counts.items()], shown)


def _usable_by_emotion(manifest: pd.DataFrame) -> dict[str, int]:
    rows = manifest[(manifest["split"] == "training") & ~manifest["left_out"]]
    counts = rows["emotion"].value_counts()
    return {emotion: int(counts.get(emotion, 0)) for emotion in EMOTIONS}


def _findings(rows: pd.DataFrame) -> dict[str, int | None]:
    needs = looked_for(rows)
    return {name: None if needs[name] else int(rows[name].sum()) for name in KINDS}


def _published(file: AnnotationFile) -> dict[str, int]:
    known = next((generation for generation in GENERATIONS if generation.name == file.published_as), None)
    return known.anomalies if known else {}


def judge(
    files: AnnotationFiles,
    split_state: SplitState,
    leakage: Leakage,
    clips: ClipCounts,
    lost_emotions: list[str],
) -> Verdict:
    """The verdict; `lost_emotions` are annotated in the training split, but without any usable clip."""
    if reasons := _annotation_reasons(files, split_state, leakage):
        return Verdict(
            level="not_usable",
            summary="Not usable as it is: the annotations do not allow a valid training.",
            reasons=tuple(reasons),
            next_steps=(
                "Correct the annotation files where the reasons above say so, or download them again.",
                "Then check the data again.",
            ),
        )
    cautions = (*_unlike_published(files), *_leaking(leakage))
    if clips.there == 0:
        return Verdict(
            level="annotations_only",
            summary=f"The annotations {'are good' if not cautions else 'can be read'}, but all {clips.utterances:,} "
            "clips are missing: nothing can be trained yet.",
            reasons=("No clip was found under the names that the annotations give.", *cautions),
            next_steps=(
                "Put the clips (dia1utt1.mp4, …) into the folders train and test beside the annotations.",
                "Or cut them from episodes that you own (kedro run --pipelines=cut_clips), or use MELD's own folders "
                "with --params meld_dir=FOLDER; see the documentation on real data.",
            ),
        )
    return _judge_clips(clips, lost_emotions, (*_nothing_to_test_on(clips), *_wrong_clips(clips), *cautions))


def _judge_clips(clips: ClipCounts, lost: list[str], cautions: tuple[str, ...]) -> Verdict:
    train = "kedro run --pipelines=exp4"
    same = "(with the same --env and --params as this check)"
    if not clips.left_out:
        whole = f"all {clips.utterances:,} clips exist, and their pictures and sound can be decoded"
        return Verdict(
            level="usable" if cautions else "good",
            summary=f"Usable with care: {whole}, but scores may mislead." if cautions else f"Good: {whole}.",
            reasons=cautions,
            next_steps=(f"Train: {train} {same}.",),
        )
    few = clips.usable < FEWEST_USABLE * clips.utterances
    if few or lost:
        return Verdict(
            level="not_usable",
            summary=f"Not usable as it is: {clips.left_out:,} of {clips.utterances:,} utterances have no clip with "
            "both pictures and sound.",
            reasons=(
                *([f"Only {clips.usable:,} utterances remain, fewer than half of the corpus."] if few else []),
                *([f"No training utterance remains for: {', '.join(lost)}."] if lost else []),
                *cautions,
            ),
            next_steps=("Add the clips that are listed below: often a download or an archive is incomplete.",),
        )
    return Verdict(
        level="usable",
        summary=f"Usable without {clips.left_out:,} of {clips.utterances:,} utterances: their clips are missing or "
        "damaged.",
        reasons=cautions,
        next_steps=(
            "Repair or download again the clips that are listed below; a clip that was checked is not decoded again.",
            f"Or train without them: {train} --params data.clips.on_bad_clip=drop {same}.",
            *([_KEEP_HALVES.format(clips=clips.lack_one)] if clips.lack_one else []),
        ),
    )


_KEEP_HALVES = "Or keep the {clips:,} clips that lack only pictures or only sound: data.clips.on_bad_clip=blank."


def _annotation_reasons(files: AnnotationFiles, split_state: SplitState, leakage: Leakage) -> list[str]:
    train = files.train
    reasons = []
    if not train.utterances:
        reasons.append("There is no train file, so there is nothing to train on.")
    elif unlabelled := train.utterances - train.labelled_utterances:
        reasons.append(f"{unlabelled:,} of {train.utterances:,} utterances of the train file have no emotion.")
    if shared := leakage.between_files.conversations_in_both:
        reasons.append(
            f"{shared:,} conversations are in both the train and the test file: the model would be tested on its "
            "training data."
        )
    if train.labelled_utterances and split_state.problem:
        reasons.append(f"It cannot be split with the current parameters. {split_state.problem}")
    return reasons


def _nothing_to_test_on(clips: ClipCounts) -> list[str]:
    if clips.official_test == 0 or clips.official_test_usable:
        return []
    return [
        f"None of the official test's {clips.official_test:,} labelled utterances has a usable clip, so nothing would "
        "be scored. Add its clips, or remove the test file: then a part of the train file is held out instead."
    ]


def _wrong_clips(clips: ClipCounts) -> list[str]:
    return [
        f"{count:,} of the {clips.there:,} clips: {KINDS[kind].words}. {KINDS[kind].advice}"
        for kind, count in clips.perhaps_wrong.items()
        if count > SUSPICIOUS_SHARE * clips.there
    ]


def _unlike_published(files: AnnotationFiles) -> list[str]:
    return [
        f"{file.file} differs from the published {file.published_as}: {', '.join(file.differs_in)}."
        for file in files.by_side().values()
        if file.differs_in
    ]


def _leaking(leakage: Leakage) -> list[str]:
    return [
        f"The split {name.replace('_', ' ')} shares {probe.conversations_on_both_sides:,.0f} conversations with "
        "training, so its scores mislead: set data.split.unit=conversation."
        for name, probe in leakage.splits.items()
        if probe.conversations_on_both_sides
    ]
