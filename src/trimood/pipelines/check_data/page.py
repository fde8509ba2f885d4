"""The page: first the verdict, then what a reader may want to look at, in the order in which it matters."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from trimood.pages import Section, Verdict, render
from trimood.pipelines.check_data.kinds import KINDS
from trimood.pipelines.check_data.page_clips import describe_clips, list_problem_clips, show_problem_clips
from trimood.pipelines.check_data.page_corpus import (
    compare_classes,
    list_oddities,
    name_files,
    show_leakage,
    total_findings,
)

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
    marks: dict[str, Verdict] = {"good": "good", "usable": "look", "annotations only": "bad", "not usable": "bad"}
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
    worst: Verdict = "bad" if any(row["weight"] == "left out" for row in rows) else "look"
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
