"""The data report as an HTML page: the verdict first, then the evidence by importance."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from trimood.corpus.data_report import DataReport, VerdictLevel
from trimood.corpus.findings import KINDS, NEEDS, ONLY_OF, SIDE_NAMES, Weight, to_check
from trimood.emotions import EMOTIONS
from trimood.reports.html import Mark, render

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
    verdict, mark = VERDICTS[report.verdict.level]
    if report.verdict.level == "annotations_only" and not report.clips.are_looked_for:
        mark = "check" if report.verdict.reasons[1:] else "good"  # the first says that no clip was asked for
    counts = {name: _total(report, name) for name in KINDS}
    corpus = report.files.corpus
    needs = {start: need for start, need in NEEDS.items() if ONLY_OF.get(start, corpus) == corpus}
    examples = {name: ", ".join(manifest.loc[manifest[name], "utterance"].head(EXAMPLES)) for name in KINDS}
    return render(
        "data_check.html",
        {"balance": balance, "durations": durations, "sheet": sheet},
        report=report,
        verdict=verdict,
        mark=mark,
        findings=[(counts[name], kind) for name, kind in KINDS.items() if counts[name] and kind.weight != "known"],
        needs=sorted(
            {need for start, need in needs.items() for name in KINDS if counts[name] is None and name.startswith(start)}
        ),
        of_emotions=_emotions(report),
        anomalies=_anomalies(report),
        examples=examples,
        has_problem_clips=(manifest["left_out"] | to_check(manifest)).any(),
        problem_clips=_problem_clips(manifest),
        listed=LISTED,
        emotions=EMOTIONS,
        kinds=KINDS,
        side_names=SIDE_NAMES,
        split_names=SPLIT_NAMES,
        weights=WEIGHTS,
        conversation_anomalies=CONVERSATION_ANOMALIES,
    )


def _total(report: DataReport, name: str) -> int | None:
    """Utterances with this kind of finding in both files; None if neither could be checked."""
    counts = [count for of_side in report.findings.values() if (count := of_side[name]) is not None]
    return sum(counts) if counts else None


def _emotions(report: DataReport) -> dict[str, Mapping[str, int]]:
    """Utterances of each emotion in each file, in the published file, and usable for training, by column."""
    columns: dict[str, Mapping[str, int]] = {}
    for side, file in report.files.by_side().items():
        if file.labelled_utterances:
            columns[f"# {SIDE_NAMES[side]}"] = file.emotions
            if file.published_emotions:
                columns[f"# {SIDE_NAMES[side]}, published"] = file.published_emotions
    if report.clips.there:
        columns["# training split, usable"] = report.usable_training_utterances
    return columns


def _anomalies(report: DataReport) -> dict[str, Mapping[str, int | None]]:
    """The count of each anomaly and finding in each file, and in the published file, by column."""
    columns: dict[str, Mapping[str, int | None]] = {}
    for side, of_side in report.anomalies.items():
        columns[f"# {SIDE_NAMES[side]}"] = report.findings[side] | of_side
        if published := report.published_anomalies[side]:
            columns[f"# {SIDE_NAMES[side]}, published"] = dict.fromkeys([*KINDS, *of_side]) | published
    return columns


def _problem_clips(manifest: pd.DataFrame) -> list[dict[str, object]]:
    """The utterances that are left out or should be checked, with the decoder's message."""
    none_is_there = bool(manifest["clip_missing"].all())  # a list of all utterances would not help
    left_out = manifest["left_out"] & (not none_is_there)
    chosen = manifest[left_out | to_check(manifest)].sort_values("left_out", ascending=False, kind="stable")
    video, audio = chosen["video_detail"].fillna(""), chosen["audio_detail"].fillna("")
    message = video.where(video == audio, (video + "; " + audio).str.strip("; "))
    return chosen.assign(message=message).to_dict("records")  # type: ignore[return-value]
