"""The data report as an HTML page: the verdict first, then the evidence by importance."""

from typing import TYPE_CHECKING

import pandas as pd

from trimood.corpus.data_report import AnnotationFile, DataReport, LeakageProbe, Side, VerdictLevel
from trimood.corpus.findings import KINDS, NEEDS, SIDE_NAMES, Weight, to_check
from trimood.emotions import EMOTIONS
from trimood.reports.html import Mark, Section, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTED = 200
"""Number of clips with problems on the page; the manifest has all of them."""

EXAMPLES = 3
"""Number of utterances named for each anomaly; the manifest has all of them."""

VERDICTS: dict[VerdictLevel, tuple[str, Mark]] = {
    "good": ("Good", "good"),
    "usable": ("Usable", "check"),
    "annotations_only": ("Annotations only", "bad"),
    "not_usable": ("Not usable", "bad"),
}

WEIGHTS: dict[Weight, str] = {"left_out": "left out", "check": "check", "known": "known"}

SPLIT_NAMES = {
    "training": "training",
    "validation": "validation",
    "held_out": "test, held out of the train file",
    "official_test": "official test",
    "none": "none",
}

CONVERSATION_ANOMALIES = {
    "order_breaks": "conversations whose number does not follow the previous one",
    "id_gaps": "conversation numbers missing between the first and the last",
    "utterance_ids_not_1_to_n": "conversations whose utterances are not numbered 1, 2, 3, …",
    "one_utterance_conversations": "conversations with a single utterance",
    "longest_conversation": "utterances in the longest conversation",
}


def write_page(
    report: DataReport, manifest: pd.DataFrame, balance: "Figure", durations: "Figure", sheet: "Figure"
) -> str:
    """The page as HTML."""
    sections = [
        _verdict(report),
        _findings(report),
        name_files(report),
        compare_classes(report, balance),
        describe_clips(report, durations),
        show_problem_clips(report, manifest, sheet),
        list_problem_clips(manifest),
        show_leakage(report),
        list_anomalies(report, manifest),
        _columns(),
    ]
    return render("Is this copy of the corpus good?", report.verdict.summary, sections)


def _verdict(report: DataReport) -> Section:
    title, mark = VERDICTS[report.verdict.level]
    steps = [f"{number}. {step}" for number, step in enumerate(report.verdict.next_steps, start=1)]
    paragraphs = [_generation(report), *report.verdict.reasons, "What to do next:", *steps]
    clips = report.clips
    counts = {
        "utterances": clips.utterances,
        "existing clips": clips.there,
        "usable: pictures and sound decode": clips.usable,
        "not usable (left out with data.clips.on_bad_clip=drop)": clips.left_out,
        "of these, lacking only pictures or only sound (kept with …=blank)": clips.lack_one,
        "hours of clips": clips.hours,
        **{f"utterances in the split: {SPLIT_NAMES[name]}": count for name, count in report.splits.items()},
    }
    table = pd.DataFrame({"": list(counts), "count": pd.Series(list(counts.values()), dtype=object)})
    return Section(title, "\n\n".join(paragraphs), table, mark=mark)


def _generation(report: DataReport) -> str:
    there = [file for file in report.files.by_side().values() if file.file]
    if not any(file.published_as for file in there):
        return "The annotations are not a published ECF file but another corpus in the same layout."
    counts = [
        f"{file.file} is {file.published_as or 'not a published file'}"
        + (", every count as published" if file.published_as and not file.differs_in else "")
        for file in there
    ]
    return f"{'; '.join(counts)}."


def _findings(report: DataReport) -> Section:
    counts = total_findings(report)
    rows = [
        {"weight": WEIGHTS[kind.weight], "utterances": counts[name], "finding": kind.words, "what to do": kind.advice}
        for name, kind in KINDS.items()
        if counts[name] and kind.weight != "known"
    ]
    if not rows:
        return Section("Findings", "There is nothing to fix.", mark="good")
    words = (
        "“Left out”: picture or sound cannot be used; data.clips.on_bad_clip decides what happens to the clip (fail, "
        "drop or blank). “Check”: the clip can be used, but watch a few of these. Anomalies of the published "
        "corpus itself are listed at the end."
    )
    left_out = any(counts[name] for name, kind in KINDS.items() if kind.weight == "left_out")
    return Section("Findings", words, pd.DataFrame(rows), mark="bad" if left_out else "check")


def name_files(report: DataReport) -> Section:
    """The annotation files, the published file that each corresponds to, and the differences."""
    files = report.files.by_side()
    there = [file for file in files.values() if file.file]
    rows = [
        {
            "file": file.file,
            "published as": file.published_as or "not a published file",
            "conversations": file.conversations,
            "published": file.published_conversations,
            "utterances": file.utterances,
            "published ": file.published_utterances,
            "labelled": file.labelled_utterances,
            "every count as published": not file.differs_in if file.published_as else None,
            "SHA-256": file.sha256,
        }
        for file in there
    ]
    remarks = [remark for side, file in files.items() for remark in _remarks(side, file)]
    mark: Mark | None = None
    if any(file.published_as for file in there):
        mark = "good" if all(file.published_as and not file.differs_in for file in there) else "check"
    else:
        remarks.append("These are not ECF's published files but a corpus in the same layout: counts are not compared.")
    table = pd.DataFrame(rows).astype({"conversations": "Int64", "published": "Int64", "published ": "Int64"})
    return Section("Annotation files", "\n\n".join(remarks), table, mark=mark)


def _remarks(side: Side, file: AnnotationFile) -> list[str]:
    if file.file is None:
        return [f"There is no {SIDE_NAMES[side]}."]
    remarks = []
    if file.differs_in:
        remarks.append(f"{file.file} differs from {file.published_as}: {', '.join(file.differs_in)}.")
    if file.unused_files:
        remarks.append(f"These files are not read, because {file.file} is: {', '.join(file.unused_files)}.")
    if side == "official_test" and not file.labelled_utterances:
        remarks.append(
            f"{file.file} has no labels, so nothing can be scored on it: a part of the train file is held out as test "
            "instead. The labels are public now: Subtask_2_test.json has 341 of the 665 conversations of the release "
            "without labels."
        )
    return remarks


def compare_classes(report: DataReport, balance: "Figure") -> Section:
    """Utterances of each emotion in each file, in the published file, and usable for training."""
    columns: dict[str, list[str] | list[int]] = {"emotion": list(EMOTIONS)}
    for side, file in report.files.by_side().items():
        if file.labelled_utterances:
            columns[SIDE_NAMES[side]] = [file.emotions[emotion] for emotion in EMOTIONS]
            if file.published_emotions:
                columns[f"{SIDE_NAMES[side]}, published"] = [file.published_emotions[e] for e in EMOTIONS]
    if report.clips.there:
        columns["training split, usable"] = [report.usable_training_utterances[emotion] for emotion in EMOTIONS]
    words = "Macro F1 weights all emotions equally, so rare emotions matter as much as frequent ones."
    return Section("Utterances of each emotion", words, pd.DataFrame(columns), balance)


def describe_clips(report: DataReport, durations: "Figure") -> Section:
    """The most frequent sizes, rates and codecs, and the lengths of clips and spans."""
    clips = report.clips
    spans = [
        f"Annotated spans of the {SIDE_NAMES[side]}: the shortest is {of_side.shortest} with "
        f"{of_side.shortest_seconds:g} s, the longest is {of_side.longest} with {of_side.longest_seconds:g} s."
        for side, of_side in report.spans.items()
    ]
    if not clips.there:
        words = "\n\n".join(["There is no clip; the figure shows the annotated spans.", *spans])
        return Section("Length of utterances", words, figure=durations)
    formats = {
        "width × height": clips.sizes,
        "frames per second": clips.frames_per_second,
        "video codec": clips.video_codecs,
        "audio codec": clips.audio_codecs,
        "sample rate in Hz": clips.sample_rates_hz,
        "audio channels": clips.channels,
    }
    table = pd.DataFrame({"": list(formats), "most frequent (clips)": [words or "–" for words in formats.values()]})
    words = "All sizes, rates and numbers of channels are accepted: clips are scaled and resampled for the model."
    return Section("Format and length of the clips", "\n\n".join([words, *spans]), table, durations)


def show_problem_clips(report: DataReport, manifest: pd.DataFrame, sheet: "Figure") -> Section:
    """A frame of some clips with problems."""
    if not report.clips.there:
        return Section("Clips with problems", "There is no clip.")
    if not (manifest["left_out"] | to_check(manifest)).any():
        return Section("Clips with problems", "There are none.", mark="good")
    words = (
        "One frame of some clips of each kind, if a frame can be decoded. Red: left out. Brown: usable, but check "
        "them. Missing clips are only in the list below."
    )
    return Section("Clips with problems", words, figure=sheet)


def list_problem_clips(manifest: pd.DataFrame) -> Section:
    """Each utterance that is left out or should be checked, with the decoder's message."""
    none_is_there = bool(manifest["clip_missing"].all())  # a list of all utterances would not help
    left_out = manifest["left_out"] & (not none_is_there)
    chosen = manifest[left_out | to_check(manifest)].sort_values("left_out", ascending=False, kind="stable")
    video, audio = chosen["video_detail"].fillna(""), chosen["audio_detail"].fillna("")
    table = pd.DataFrame(
        {
            "clip": chosen["clip"],
            "split": chosen["split"].map(SPLIT_NAMES),
            "weight": chosen["left_out"].map({True: WEIGHTS["left_out"], False: WEIGHTS["check"]}),
            "findings": chosen["findings"].str.replace("_", " "),
            "decoder's message": video.where(video == audio, (video + "; " + audio).str.strip("; ")),
            "clip, s": chosen["clip_seconds"],
            "span, s": chosen["span_seconds"],
            "words": chosen["words"],
        }
    ).head(LISTED)
    more = f"The first {LISTED} of {len(chosen):,}; manifest.parquet has all. " if len(chosen) > LISTED else ""
    title = f"List of {len(chosen):,} utterances to fix or to check"
    return Section(title, f"{more}Click to open or close.", table if len(table) else None, folded=True)


def show_leakage(report: DataReport) -> Section:
    """The leakage of the splits, and of random splits for comparison."""
    leakage = report.leakage
    rows = [_probe(SPLIT_NAMES[name], probe) for name, probe in leakage.splits.items()]
    if leakage.random_by_utterance:
        rows.append(_probe("for comparison: a random tenth of utterances, mean of 10", leakage.random_by_utterance))
    between, within = leakage.between_files, leakage.within_train_file
    clean = not between.conversations_in_both and not any(
        probe.conversations_on_both_sides for probe in leakage.splits.values()
    )
    words = [
        "A split leaks if a model can score by memorising the training split. The probe uses no text, pictures or "
        "sound: it copies the label of the nearest training utterance in the same conversation. If its score is higher "
        "than that of always predicting the most frequent emotion, the split leaks.",
        f"Conversations in both files: {between.conversations_in_both:,} (must be 0). Conversations with the same text "
        f"in both files: {between.conversations_of_the_same_words:,}. Test utterances whose text occurs verbatim in "
        f"the train file: {between.test_utterances_verbatim_in_train:,} ({between.texts_in_both:,} different texts). "
        "Validation utterances whose text occurs verbatim in the training split: "
        f"{within.validation_utterances_verbatim_in_training:,}.",
    ]
    if report.split_problem:
        words.append(f"The utterances cannot be split with the current parameters. {report.split_problem}")
    table = pd.DataFrame(rows) if rows else None
    return Section("Leakage between splits", "\n\n".join(words), table, mark="good" if clean else "bad")


def _probe(name: str, probe: LeakageProbe) -> dict[str, str | int | float]:
    return {
        "scored on": name,
        "utterances": round(probe.scored_utterances),
        "conversations also in training": round(probe.conversations_on_both_sides),
        "share with a neighbour": probe.share_with_neighbour,
        "macro F1, neighbour's label": probe.neighbour_macro_f1,
        "macro F1, most frequent": probe.majority_macro_f1,
    }


def list_anomalies(report: DataReport, manifest: pd.DataFrame) -> Section:
    """Anomalies that the published corpus has too, with their published counts."""
    rows = []
    for name, words in CONVERSATION_ANOMALIES.items():
        counts: dict[Side, int | None] = {side: of_side[name] for side, of_side in report.anomalies.items()}
        rows.append({"anomaly": words} | _per_side(report, counts, name))
    for name, kind in KINDS.items():
        if kind.weight == "known":
            counts = {side: of_side[name] for side, of_side in report.findings.items()}
            found = ", ".join(manifest.loc[manifest[name], "utterance"].head(EXAMPLES))
            row = {"anomaly": kind.words} | _per_side(report, counts, name)
            rows.append(row | {"for example": found, "what it means": kind.advice})
    needs = {
        NEEDS[start]
        for name, count in total_findings(report).items()
        for start in NEEDS
        if count is None and name.startswith(start)
    }
    remarks = ["These are not errors: the published corpus has them, and they are handled."]
    if needs:
        remarks.append(f"“–”: not checked, or not published. To check for all of them, add {'; '.join(sorted(needs))}.")
    table = pd.DataFrame(rows).fillna({"for example": "", "what it means": ""})
    return Section("Known anomalies of the corpus", "\n\n".join(remarks), table)


def _per_side(report: DataReport, counts: dict[Side, int | None], name: str) -> dict[str, str]:
    cells: dict[str, str] = {}
    for side, count in counts.items():
        cells[SIDE_NAMES[side]] = _count(count)
        if report.published_anomalies[side]:
            cells[f"{SIDE_NAMES[side]}, published"] = _count(report.published_anomalies[side].get(name))
    return cells


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def total_findings(report: DataReport) -> dict[str, int | None]:
    """Utterances with each kind of finding in both files; None if neither could be checked."""
    totals: dict[str, int | None] = {}
    for name in KINDS:
        counts = [count for of_side in report.findings.values() if (count := of_side[name]) is not None]
        totals[name] = sum(counts) if counts else None
    return totals


def _columns() -> Section:
    words = (
        "manifest.parquet has one row for each utterance: annotation, split, all facts about its clip, and "
        "a boolean column for each kind of finding below. report.json has the counts. MLflow has both files, and every "
        "count as a metric."
    )
    table = pd.DataFrame(
        {
            "column": list(KINDS),
            "weight": [WEIGHTS[kind.weight] for kind in KINDS.values()],
            "meaning": [kind.words for kind in KINDS.values()],
        }
    )
    return Section("Columns of the manifest", words, table, folded=True)
