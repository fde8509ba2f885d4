"""The data check as one HTML page: first the verdict, then everything behind it, in order of importance."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from trimood.corpus.findings import KINDS, NEEDS, SIDE_NAMES, Kind, to_look_at
from trimood.emotions import EMOTIONS
from trimood.reports.html import Mark, Section, render

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LISTED = 200
"""How many clips with problems the page lists; the manifest holds them all."""


def describe_clips(report: dict[str, Any], durations: "Figure") -> Section:
    """The most frequent sizes, rates and codecs, and how long clips last beside their spans."""
    clips = report["clips"]
    spans = [
        f"Annotated spans of the {SIDE_NAMES[side]}: the shortest is {of_side['shortest']} with "
        f"{of_side['shortest_seconds']:g} s, the longest {of_side['longest']} with {of_side['longest_seconds']:g} s."
        for side, of_side in report["spans"].items()
    ]
    if not clips["there"]:
        words = "\n\n".join(["There is no clip; these are the annotated spans.", *spans])
        return Section("How long utterances last", words, figure=durations)
    names = {
        "sizes": "width × height",
        "frames_per_second": "frames a second",
        "video_codecs": "codec of the pictures",
        "audio_codecs": "codec of the sound",
        "sample_rates_hz": "sample rate in Hz",
        "channels": "channels",
    }
    table = pd.DataFrame({"": list(names.values()), "most frequent (clips)": [clips[name] or "–" for name in names]})
    words = "Any size, rate and number of channels will do: clips are scaled and resampled as the model expects."
    return Section("What the clips are like", "\n\n".join([words, *spans]), table, durations)


def show_problem_clips(report: dict[str, Any], manifest: pd.DataFrame, sheet: "Figure") -> Section:
    """The sheet, where there is anything to show."""
    if not report["clips"]["there"]:
        return Section("Clips with problems", "There is no clip at all, so there is no picture.")
    if not (manifest["left_out"] | to_look_at(manifest)).any():
        return Section("Clips with problems", "There is none.", verdict="good")
    words = (
        "One frame of some clips of each kind, where a frame decodes. Red: left out. Brown: usable, but look at them. "
        "Clips that are missing have no picture; the list below names them."
    )
    return Section("Clips with problems", words, figure=sheet)


def list_problem_clips(manifest: pd.DataFrame) -> Section:
    """Each utterance that is left out or should be looked at, with what the decoder said."""
    none_is_there = bool(manifest["clip_missing"].all())  # a list of all is no help then
    left_out = manifest["left_out"] & (not none_is_there)
    chosen = manifest[left_out | to_look_at(manifest)].sort_values("left_out", ascending=False, kind="stable")
    table = pd.DataFrame(
        {
            "clip": chosen["clip"],
            "split": chosen["split"].str.replace("_", " "),
            "left out": chosen["left_out"].map({True: "left out", False: "look"}),
            "found": chosen["findings"].str.replace("_", " "),
            "details": _details(chosen),
            "clip s": chosen["clip_seconds"],
            "span s": chosen["span_seconds"],
            "words": chosen["words"],
        }
    ).head(LISTED)
    more = f"The first {LISTED} of {len(chosen):,}; the manifest holds them all. " if len(chosen) > LISTED else ""
    title = f"The list: {len(chosen):,} utterances to mend or to look at"
    return Section(title, f"{more}Click to open or close.", table if len(table) else None, folded=True)


def _details(chosen: pd.DataFrame) -> pd.Series:
    video, audio = chosen["video_detail"].fillna(""), chosen["audio_detail"].fillna("")
    return video.where(video == audio, (video + "; " + audio).str.strip("; "))


if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 3
"""How many utterances are named for each oddity; the manifest marks them all."""

SPLIT_NAMES = {
    "validation": "validation",
    "held_out": "test, held out of the train file",
    "official_test": "official test",
}


def name_files(report: dict[str, Any]) -> Section:
    """Which published file each file is, with its counts beside the published ones; what differs is said."""
    files = report["files"]
    there = [facts for facts in files.values() if facts["file"]]
    rows = [
        {
            "file": facts["file"],
            "is": facts["published_as"] or "no published file",
            "conversations": facts["conversations"],
            "published": facts["published_conversations"],
            "utterances": facts["utterances"],
            "published ": facts["published_utterances"],
            "labelled": facts["labelled_utterances"],
            "every count as published": not facts["differs_in"] if facts["published_as"] else None,
            "SHA-256": facts["sha256"],
        }
        for facts in there
    ]
    remarks = [remark for side, facts in files.items() for remark in _remarks(side, facts)]
    if not any(facts["published_as"] for facts in there):
        remarks.append("This is no published ECF file, but a corpus in its layout; nothing is compared with ECF.")
    table = pd.DataFrame(rows).astype({"conversations": "Int64", "published": "Int64", "published ": "Int64"})
    mark: Mark | None = None
    if any(facts["published_as"] for facts in there):
        mark = "good" if all(facts["published_as"] and not facts["differs_in"] for facts in there) else "look"
    return Section("Which files these are", "\n\n".join(remarks), table, verdict=mark)


def _remarks(side: str, facts: dict[str, Any]) -> list[str]:
    if facts["file"] is None:
        return [f"There is no {SIDE_NAMES[side]}."]
    remarks = []
    if facts["differs_in"]:
        remarks.append(f"{facts['file']} differs from {facts['published_as']}: {', '.join(facts['differs_in'])}.")
    if facts["unused_files"]:
        remarks.append(f"Also there, and not read beside {facts['file']}: {', '.join(facts['unused_files'])}.")
    if side == "official_test" and not facts["labelled_utterances"]:
        remarks.append(
            f"{facts['file']} has no labels, so nothing can be scored on it: a part of the train file is held out as "
            "test instead. The labels are public now: Subtask_2_test.json, with 341 of the 665 conversations of the "
            "release without labels."
        )
    return remarks


def compare_classes(report: dict[str, Any], balance: "Figure") -> Section:
    """Utterances of each emotion in each file, as published, and what is left to train on."""
    columns: dict[str, Any] = {"emotion": list(EMOTIONS)}
    for side, facts in report["files"].items():
        if facts["labelled_utterances"]:
            columns[SIDE_NAMES[side]] = [facts["emotions"][emotion] for emotion in EMOTIONS]
            if facts["published_emotions"]:
                columns[f"{SIDE_NAMES[side]}, published"] = [facts["published_emotions"][e] for e in EMOTIONS]
    if report["clips"]["there"]:
        columns["training split, usable"] = [report["usable_training_utterances"][emotion] for emotion in EMOTIONS]
    words = "Macro F1 weighs every emotion alike, so the rare ones decide it."
    return Section("How often each emotion occurs", words, pd.DataFrame(columns), balance)


def show_leakage(report: dict[str, Any]) -> Section:
    """What the splits give away, beside a random one."""
    leakage = report["leakage"]
    rows = [_probe(SPLIT_NAMES[name], probe) for name, probe in leakage["splits"].items()]
    if leakage["random_by_utterance"]:
        rows.append(
            _probe("for comparison: a random tenth by utterance, mean of 10 draws", leakage["random_by_utterance"])
        )
    between, within = leakage["between_files"], leakage["within_train_file"]
    clean = not between["conversations_in_both"] and not any(
        probe["conversations_on_both_sides"] for probe in leakage["splits"].values()
    )
    words = [
        "A split must not let a model score by remembering. The probe gets no words, no picture and no sound: it "
        "copies the label of the nearest training utterance of the same conversation. Where it scores more than "
        "“always the most frequent emotion”, the split gives answers away.",
        f"Conversations in both files: {between['conversations_in_both']:,} (must be 0); of them or others, with the "
        f"same words throughout: {between['conversations_of_the_same_words']:,}. Test utterances whose words stand "
        f"verbatim in the train file: {between['test_utterances_verbatim_in_train']:,} ({between['texts_in_both']:,} "
        "different texts). Of the validation split, verbatim in training: "
        f"{within['validation_utterances_verbatim_in_training']:,}.",
    ]
    if report["split_problem"]:
        words.append(f"The current settings give no split. {report['split_problem']}")
    table = pd.DataFrame(rows) if rows else None
    return Section("Does a split give answers away?", "\n\n".join(words), table, verdict="good" if clean else "bad")


def _probe(name: str, probe: dict[str, Any]) -> dict[str, Any]:
    return {
        "scored on": name,
        "utterances": round(probe["scored_utterances"]),
        "conversations also in training": round(probe["conversations_on_both_sides"]),
        "share with a neighbour": probe["share_with_neighbour"],
        "macro F1, neighbour's label": probe["neighbour_macro_f1"],
        "macro F1, most frequent": probe["majority_macro_f1"],
    }


CONVERSATION_ODDITIES = {
    "order_breaks": "conversations that do not follow the number before them",
    "id_gaps": "conversation numbers left out between the first and the last",
    "utterance_ids_not_1_to_n": "conversations whose utterances are not numbered 1, 2, 3, …",
    "one_utterance_conversations": "conversations of a single utterance",
    "longest_conversation": "utterances in the longest conversation",
}


def list_oddities(report: dict[str, Any], manifest: pd.DataFrame) -> Section:
    """What is odd of its nature, counted beside the published file."""
    rows = []
    for name, words in CONVERSATION_ODDITIES.items():
        rows.append({"what": words} | _per_side(report, "oddities", name))
    for name, kind in KINDS.items():
        if kind.weight == "known":
            rows.append({"what": kind.words} | _per_side(report, "findings", name) | _rest(manifest, name, kind))
    needs = {
        NEEDS[start]
        for name, count in total_findings(report["findings"]).items()
        for start in NEEDS
        if count is None and name.startswith(start)
    }
    remarks = [
        "Not errors: the published corpus is like this, and the pipelines handle it. Counts are compared with it."
    ]
    if needs:
        remarks.append(f"“–” was not looked for, or is not published. Some of it needs {'; '.join(sorted(needs))}.")
    return Section(
        "Oddities of the corpus",
        "\n\n".join(remarks),
        pd.DataFrame(rows).fillna({"for example": "", "what it means": ""}),
    )


def _rest(manifest: pd.DataFrame, name: str, kind: Kind) -> dict[str, Any]:
    found = manifest.loc[manifest[name], "utterance"].head(EXAMPLES)
    return {"for example": ", ".join(found), "what it means": kind.advice}


def _per_side(report: dict[str, Any], block: str, name: str) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for side in report[block]:
        cells[SIDE_NAMES[side]] = _count(report[block][side][name])
        if report["published_oddities"][side]:
            cells[f"{SIDE_NAMES[side]}, published"] = _count(report["published_oddities"][side].get(name))
    return cells


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def total_findings(findings: dict[str, dict[str, int | None]]) -> dict[str, int | None]:
    """Utterances of each kind over all files; None where it could be looked for in none of them."""
    totals: dict[str, int | None] = {}
    for name in KINDS:
        counts = [of_side[name] for of_side in findings.values() if of_side[name] is not None]
        totals[name] = sum(count for count in counts if count is not None) if counts else None
    return totals


if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_page(
    report: dict[str, Any], manifest: pd.DataFrame, balance: "Figure", durations: "Figure", sheet: "Figure"
) -> str:
    """The report as one HTML file."""
    sections = [
        _verdict(report),
        _what_was_found(report),
        name_files(report),
        compare_classes(report, balance),
        describe_clips(report, durations),
        show_problem_clips(report, manifest, sheet),
        list_problem_clips(manifest),
        show_leakage(report),
        list_oddities(report, manifest),
        _columns(),
    ]
    return render("Is this copy of the corpus good?", report["says"], sections)


def _verdict(report: dict[str, Any]) -> Section:
    marks: dict[str, Mark] = {"good": "good", "usable": "look", "annotations only": "bad", "not usable": "bad"}
    steps = [f"{number}. {step}" for number, step in enumerate(report["next_steps"], start=1)]
    paragraphs = [_generation(report), *report["reasons"], "What to do next:", *steps]
    clips, splits = report["clips"], report["splits"]
    table = pd.DataFrame(
        {
            "": [
                "utterances",
                "clips that are there",
                "usable whole",
                "not usable whole (left out under the policy drop)",
                "of these, lacking only pictures or only sound (kept under blank)",
                "hours of clips",
            ],
            "count": pd.Series(
                [clips[name] for name in ("utterances", "there", "usable", "left_out", "lack_one", "hours")],
                dtype=object,
            ),
        }
    )
    for name, count in splits.items():
        table.loc[len(table)] = [f"in the split {name.replace('_', ' ')}", count]
    return Section(report["verdict"].capitalize(), "\n\n".join(paragraphs), table, verdict=marks[report["verdict"]])


def _generation(report: dict[str, Any]) -> str:
    there = [facts for facts in report["files"].values() if facts["file"]]
    if not any(facts["published_as"] for facts in there):
        return "The annotations are no published ECF files, but a corpus of their own in that layout."
    counts = "; ".join(
        f"{facts['file']} is {facts['published_as'] or 'no published file'}"
        + (", every count as published" if facts["published_as"] and not facts["differs_in"] else "")
        for facts in there
    )
    return f"{counts}."


def _what_was_found(report: dict[str, Any]) -> Section:
    counts = total_findings(report["findings"])
    rows = [
        {"weight": kind.weight, "utterances": counts[name], "what was found": kind.words, "what to do": kind.advice}
        for name, kind in KINDS.items()
        if counts[name] and kind.weight != "known"
    ]
    if not rows:
        return Section("What was found", "Nothing that would have to be mended.", verdict="good")
    worst: Mark = "bad" if any(row["weight"] == "left out" for row in rows) else "look"
    words = (
        "“Left out” cannot be used whole: what becomes of it, the policy data.clips.on_bad_clip says (fail, drop, "
        "blank). “Look” can be used, but someone should watch a few. What is odd about the published corpus itself "
        "stands at the end."
    )
    return Section("What was found", words, pd.DataFrame(rows), verdict=worst)


def _columns() -> Section:
    words = (
        "manifest.parquet holds one row an utterance: annotation, split, everything that is known of its clip, and a "
        "column of truth values for each kind of finding below. report.json holds the counts; MLflow has both, and "
        "every count as a metric."
    )
    table = pd.DataFrame(
        {
            "column": list(KINDS),
            "weight": [k.weight for k in KINDS.values()],
            "means": [k.words for k in KINDS.values()],
        }
    )
    return Section("Where the numbers are", words, table, folded=True)
