"""Computes a data report: counts over the manifest, and the verdict on the corpus."""

from collections.abc import Iterator, Sequence

import pandas as pd

from trimood.config.parameters import Corpus, listed
from trimood.corpus.anomalies import conversation_anomalies
from trimood.corpus.data_report import (
    SIDES,
    AnnotationFiles,
    ClipCounts,
    DataReport,
    Leakage,
    SpanExtremes,
    SplitState,
    Verdict,
    VerdictLevel,
)
from trimood.corpus.findings import KINDS, SIDE_NAMES, clips_are_looked_for, looked_for
from trimood.corpus.published import GENERATIONS, Side
from trimood.emotions import EMOTIONS

FEWEST_USABLE = 0.5
"""A corpus with a smaller share of usable clips is not usable: add the missing clips rather than drop them."""

WRONG_CLIPS = ("same_bytes", "duration_differs", "sound_and_pictures_differ", "sound_nearly_silent", "too_many_words")
"""Kinds of finding that can be chance in a few clips, but indicate a wrong folder, cut or conversion in many."""

NO_CLIPS: dict[Corpus, tuple[str, ...]] = {
    "ecf": (
        "Put the clips (dia1utt1.mp4, …) into the folders train and test beside the annotations.",
        "Or cut them from episodes that you own (kedro run --pipelines=cut_clips), or use MELD's own folders "
        "with --params meld_dir=FOLDER; see the documentation on real data.",
    ),
    "meld": (
        "Unpack MELD.Raw's archives beside the annotations, or name the folder that has train_splits, "
        "dev_splits_complete and output_repeated_splits_test with --params meld_dir=FOLDER.",
    ),
}
"""What to do if there is no clip at all."""

SUSPICIOUS_SHARE = 0.05
"""Above this share of the existing clips, such a finding is a reason. In ECF, 1 % have too many words per second, and
0.2 % have the span of an earlier utterance."""


def summarise(
    manifest: pd.DataFrame, annotation_files: AnnotationFiles, split_state: SplitState, leakage: Leakage
) -> DataReport:
    """Counts the manifest and judges the corpus."""
    sides: dict[Side, pd.DataFrame] = {side: manifest[manifest["side"] == side] for side in SIDES}
    clips = _clips(manifest)
    training = manifest[manifest["split"] == "training"]
    counts = training.loc[~training["left_out"], "emotion"].value_counts()
    emotions = {emotion: int(counts.get(emotion, 0)) for emotion in EMOTIONS}
    lost = [emotion for emotion in EMOTIONS if not emotions[emotion] and (training["emotion"] == emotion).any()]
    return DataReport(
        verdict=judge(annotation_files, split_state, leakage, clips, lost),
        files=annotation_files,
        splits={str(name): int(n) for name, n in manifest["split"].value_counts().items() if name != "none"},
        split_problem=split_state.problem,
        usable_training_utterances=emotions,
        clips=clips,
        spans={side: _extremes(rows) for side, rows in sides.items() if rows["span_seconds"].notna().any()},
        findings={
            side: {name: None if need else int(rows[name].sum()) for name, need in looked_for(rows).items()}
            for side, rows in sides.items()
            if len(rows)
        },
        anomalies={side: conversation_anomalies(rows) for side, rows in sides.items() if len(rows)},
        published_anomalies={
            side: next((known.anomalies for known in GENERATIONS if known.name == file.published_as), {})
            for side, file in annotation_files.by_side().items()
        },
        leakage=leakage,
    )


def _clips(manifest: pd.DataFrame) -> ClipCounts:
    are_looked_for = clips_are_looked_for(manifest)
    there = manifest[~manifest["clip_missing"] & are_looked_for]
    official_test = manifest[manifest["split"] == "official_test"]
    return ClipCounts(
        utterances=len(manifest),
        there=len(there),
        usable=int((~there["left_out"]).sum()),
        left_out=int(manifest["left_out"].sum()),
        official_test=len(official_test),
        official_test_usable=int((~official_test["left_out"] & are_looked_for).sum()),
        perhaps_wrong={kind: int(there[kind].sum()) for kind in WRONG_CLIPS},
        lack_one=int((there["video_problem"].isna() != there["audio_problem"].isna()).sum()),
        hours=round(float(there["clip_seconds"].sum()) / 3600, 3),
        sizes=_most_frequent(there["width"].astype("str") + "×" + there["height"].astype("str"), there["width"]),
        frames_per_second=_most_frequent(there["frames_per_second"].round(2).astype("str"), there["frames_per_second"]),
        video_codecs=_most_frequent(there["video_codec"], there["video_codec"]),
        audio_codecs=_most_frequent(there["audio_codec"], there["audio_codec"]),
        sample_rates_hz=_most_frequent(there["sample_rate_hz"].astype("str"), there["sample_rate_hz"]),
        channels=_most_frequent(there["channels"].astype("str"), there["channels"]),
        are_looked_for=are_looked_for,
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
    """The most frequent values with their counts, as text: MLflow would log each number as a metric."""
    counts = values[known.notna()].value_counts()
    return listed([f"{value} ({count:,})" for value, count in counts.items()], shown)


def judge(
    files: AnnotationFiles, split_state: SplitState, leakage: Leakage, clips: ClipCounts, lost_emotions: list[str]
) -> Verdict:
    """The verdict; `lost_emotions` are annotated in the training split, but without any usable clip."""
    train, repeat = "kedro run --pipelines=exp4", "(with the same --env and --params as this check)"
    if reasons := list(_annotation_reasons(files, split_state, leakage)):
        return _verdict(
            "not_usable",
            "Not usable as it is: the annotations do not allow a valid training.",
            reasons,
            "Correct the annotation files as described above, or download them again. Then check the data again.",
        )
    cautions = list(_cautions(files, leakage))
    if not clips.are_looked_for:
        return _verdict(
            "annotations_only",
            f"The annotations {'are good' if not cautions else 'can be read'}. No clip was looked for: experiments on "
            "text alone can be trained.",
            ["data.clips.in_use is false.", *cautions],
            f"Train: kedro run --pipelines=exp12 {repeat}.",
        )
    if clips.there == 0:
        return _verdict(
            "annotations_only",
            f"The annotations {'are good' if not cautions else 'can be read'}, but all {clips.utterances:,} "
            "clips are missing: nothing can be trained yet.",
            ["No clip was found under the names that the annotations give.", *cautions],
            *NO_CLIPS[files.corpus],
        )
    cautions = [*_clip_cautions(clips), *cautions]
    if not clips.left_out:
        whole = f"all {clips.utterances:,} clips exist, and their pictures and sound can be decoded"
        return _verdict(
            "usable" if cautions else "good",
            f"Usable with care: {whole}, but scores may mislead." if cautions else f"Good: {whole}.",
            cautions,
            f"Train: {train} {repeat}.",
        )
    too_few = []
    if clips.usable < FEWEST_USABLE * clips.utterances:
        too_few.append(f"Only {clips.usable:,} utterances remain, fewer than half of the corpus.")
    if lost_emotions:
        too_few.append(f"No training utterance remains for: {', '.join(lost_emotions)}.")
    if too_few:
        return _verdict(
            "not_usable",
            f"Not usable as it is: {clips.left_out:,} of {clips.utterances:,} utterances have no clip with "
            "both pictures and sound.",
            [*too_few, *cautions],
            "Add the clips that are listed below: often a download or an archive is incomplete.",
        )
    halves = f"Or keep the {clips.lack_one:,} clips that only lack pictures or sound: data.clips.on_bad_clip=blank."
    return _verdict(
        "usable",
        f"Usable without {clips.left_out:,} of {clips.utterances:,} utterances: their clips are missing or damaged.",
        cautions,
        "Repair or download again the clips that are listed below; a clip that was checked is not decoded again.",
        f"Or train without them: {train} --params data.clips.on_bad_clip=drop {repeat}.",
        *([halves] if clips.lack_one else []),
    )


def _verdict(level: VerdictLevel, summary: str, reasons: Sequence[str], *next_steps: str) -> Verdict:
    return Verdict(level=level, summary=summary, reasons=tuple(reasons), next_steps=next_steps)


def _annotation_reasons(files: AnnotationFiles, split_state: SplitState, leakage: Leakage) -> Iterator[str]:
    train = files.train
    if not train.utterances:
        yield "There is no train file, so there is nothing to train on."
    elif unlabelled := train.utterances - train.labelled_utterances:
        yield f"{unlabelled:,} of {train.utterances:,} utterances of the train file have no emotion."
    if files.corpus == "meld":
        for side, file in files.by_side().items():
            if side != "train" and not file.utterances:
                yield f"There is no {SIDE_NAMES[side]}: MELD's own splits are used, so all three files are needed."
    if shared := leakage.between_files.conversations_in_both:
        yield (
            f"{shared:,} conversations are in both the train and the test file: the model would be tested on its "
            "training data."
        )
    if train.labelled_utterances and split_state.problem:
        yield f"The utterances cannot be split with the current parameters. {split_state.problem}"


def _clip_cautions(clips: ClipCounts) -> Iterator[str]:
    if clips.official_test and not clips.official_test_usable:
        yield (
            f"None of the official test's {clips.official_test:,} labelled utterances has a usable clip, so nothing "
            "would be scored. Add its clips, or remove the test file to hold out a part of the train file instead."
        )
    for kind, count in clips.perhaps_wrong.items():
        if count > SUSPICIOUS_SHARE * clips.there:
            yield f"{count:,} of the {clips.there:,} clips: {KINDS[kind].words}. {KINDS[kind].advice}"


def _cautions(files: AnnotationFiles, leakage: Leakage) -> Iterator[str]:
    for file in files.by_side().values():
        if file.differs_in:
            yield f"{file.file} differs from the published {file.published_as}: {', '.join(file.differs_in)}."
    for side, in_ecf in (leakage.conversations_in_ecf or {}).items():
        if count := in_ecf["official_test"]:
            yield (
                f"{count:,} conversations of MELD's {SIDE_NAMES[side]} are in ECF's official test: leave them out of "
                "the training of a model that is tested on ECF."
            )
        if count := in_ecf["train"] if side != "train" else 0:
            yield (
                f"{count:,} conversations of MELD's {SIDE_NAMES[side]} are in ECF's train file: a model that was "
                "trained on ECF cannot be tested on them."
            )
    for name, probe in leakage.splits.items():
        if probe.conversations_on_both_sides:
            yield (
                f"The split {name.replace('_', ' ')} shares {probe.conversations_on_both_sides:,.0f} conversations "
                "with training, so its scores mislead: set data.split.unit=conversation."
            )
