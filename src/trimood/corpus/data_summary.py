"""Computes a data report: counts over the manifest, and the verdict on the corpus."""

import pandas as pd

from trimood.config.parameters import listed
from trimood.corpus.anomalies import conversation_anomalies
from trimood.corpus.data_report import (
    SIDES,
    AnnotationFile,
    AnnotationFiles,
    ClipCounts,
    DataReport,
    Leakage,
    SpanExtremes,
    SplitState,
    Verdict,
)
from trimood.corpus.findings import KINDS, looked_for
from trimood.corpus.published import GENERATIONS, Side
from trimood.emotions import EMOTIONS

FEWEST_USABLE = 0.5
"""A corpus with a smaller share of usable clips is not usable: add the missing clips rather than drop them."""

WRONG_CLIPS = ("same_bytes", "duration_differs", "sound_and_pictures_differ", "sound_nearly_silent", "too_many_words")
"""Kinds of finding that can be chance in a few clips, but indicate a wrong folder, cut or conversion in many."""

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
    """The most frequent values with their counts, as text: MLflow would log each number as a metric."""
    counts = values[known.notna()].value_counts()
    return listed([f"{value} ({count:,})" for value, count in counts.items()], shown)


def _findings(rows: pd.DataFrame) -> dict[str, int | None]:
    needs = looked_for(rows)
    return {name: None if needs[name] else int(rows[name].sum()) for name in KINDS}


def _published(file: AnnotationFile) -> dict[str, int]:
    known = next((generation for generation in GENERATIONS if generation.name == file.published_as), None)
    return known.anomalies if known else {}


def judge(
    files: AnnotationFiles, split_state: SplitState, leakage: Leakage, clips: ClipCounts, lost_emotions: list[str]
) -> Verdict:
    """The verdict; `lost_emotions` are annotated in the training split, but without any usable clip."""
    if reasons := _annotation_reasons(files, split_state, leakage):
        return Verdict(
            level="not_usable",
            summary="Not usable as it is: the annotations do not allow a valid training.",
            reasons=tuple(reasons),
            next_steps=(
                "Correct the annotation files as described above, or download them again. Then check the data again.",
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
    halves = f"Or keep the {clips.lack_one:,} clips that only lack pictures or sound: data.clips.on_bad_clip=blank."
    return Verdict(
        level="usable",
        summary=f"Usable without {clips.left_out:,} of {clips.utterances:,} utterances: their clips are missing or "
        "damaged.",
        reasons=cautions,
        next_steps=(
            "Repair or download again the clips that are listed below; a clip that was checked is not decoded again.",
            f"Or train without them: {train} --params data.clips.on_bad_clip=drop {same}.",
            *([halves] if clips.lack_one else []),
        ),
    )


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
        reasons.append(f"The utterances cannot be split with the current parameters. {split_state.problem}")
    return reasons


def _nothing_to_test_on(clips: ClipCounts) -> list[str]:
    if clips.official_test == 0 or clips.official_test_usable:
        return []
    return [
        f"None of the official test's {clips.official_test:,} labelled utterances has a usable clip, so nothing would "
        "be scored. Add its clips, or remove the test file to hold out a part of the train file instead."
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
