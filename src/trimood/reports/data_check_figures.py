"""Figures of a data report: class balance, durations, and clips with problems."""

from collections.abc import Hashable, Mapping
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimood.corpus.anomalies import LONG_SPAN_SECONDS, SHORT_SPAN_SECONDS
from trimood.corpus.data_report import AnnotationFiles
from trimood.corpus.findings import KINDS, clips_are_looked_for, to_check
from trimood.emotions import EMOTIONS
from trimood.reports.clips import draw_frame
from trimood.reports.figures import BLUE, PALE_BLUE, PlainFigure, in_a_row
from trimood.reports.html import MARK_COLOURS

BAD, CHECK = MARK_COLOURS["bad"], MARK_COLOURS["check"]
SHORTEST_DRAWN_SECONDS = 0.01
SHOWN_CLIPS = 24
CLIPS_IN_ROW = 6


def class_balance_figure(files: AnnotationFiles) -> Figure:
    """Utterances of each emotion in each labelled file, and in the published file that it is or resembles."""
    labelled = [file for file in files.by_side().values() if file.labelled_utterances]
    count = max(1, len(labelled))
    figure = PlainFigure(5.2 * count, 3.6)
    axes = in_a_row(figure, count)
    if not labelled:
        axes[0].text(0.5, 0.5, "no file has labels", ha="center")
        axes[0].axis("off")
    for ax, file in zip(axes, labelled, strict=False):
        places = np.arange(len(EMOTIONS))
        published = file.published_emotions
        if published:
            ax.bar(places + 0.2, [published[e] for e in EMOTIONS], 0.4, color=PALE_BLUE, label="published")
        here = [file.emotions[emotion] for emotion in EMOTIONS]
        bars = ax.bar(places - (0.2 if published else 0), here, 0.4, color=BLUE, label="this copy")
        ax.bar_label(bars, [f"{count:,}" for count in here], fontsize=8, padding=2)
        ax.set_xticks(places, EMOTIONS, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_title(str(file.file), fontsize=10)
        ax.set_ylabel("utterances")
        ax.margins(y=0.12)
        ax.spines[["top", "right"]].set_visible(False)
        if published:
            ax.legend(frameon=False)
    return figure


def durations_figure(manifest: pd.DataFrame) -> Figure:
    """Histograms of the lengths of clips and of annotated spans; too short and too long ones are shaded and counted."""
    figure = PlainFigure(9, 3.8)
    ax = figure.subplots()
    both = {"clips": manifest["clip_seconds"].dropna(), "annotated spans": manifest["span_seconds"].dropna()}
    series = {name: seconds for name, seconds in both.items() if len(seconds)}
    longest = max([10 * LONG_SPAN_SECONDS, *(1.05 * float(seconds.max()) for seconds in series.values())])
    edges = np.geomspace(SHORTEST_DRAWN_SECONDS, longest, 60)
    for name, seconds in series.items():
        label = f"{len(seconds):,} {name}, median {seconds.median():.1f} s"
        drawn = seconds.clip(lower=SHORTEST_DRAWN_SECONDS)
        if name == "clips":
            ax.hist(drawn, edges.tolist(), label=label, color=BLUE, alpha=0.75)
        else:
            ax.hist(drawn, edges.tolist(), label=label, color=CHECK, histtype="step", linewidth=1.6)
    short = [f"{int((seconds < SHORT_SPAN_SECONDS).sum()):,} {name}" for name, seconds in series.items()]
    long = [f"{int((seconds > LONG_SPAN_SECONDS).sum()):,} {name}" for name, seconds in series.items()]
    _shade(ax, SHORTEST_DRAWN_SECONDS, SHORT_SPAN_SECONDS, [f"under {SHORT_SPAN_SECONDS:g} s", *short])
    _shade(ax, LONG_SPAN_SECONDS, longest, [f"over {LONG_SPAN_SECONDS:g} s", *long])
    ax.set_xscale("log")
    ax.set_xlim(SHORTEST_DRAWN_SECONDS, longest)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("seconds, on a logarithmic scale (shorter ones are counted at 0.01)")
    ax.set_ylabel("utterances")
    ax.spines[["top", "right"]].set_visible(False)
    if series:
        figure.legend(frameon=False, loc="outside upper center", ncols=2)
    return figure


def _shade(ax: Axes, left: float, right: float, lines: list[str]) -> None:
    ax.axvspan(left, right, color=BAD, alpha=0.08)
    middle = (left * right) ** 0.5  # of a logarithmic axis
    place = ax.get_xaxis_transform()
    ax.text(middle, 0.97, "\n".join(lines), transform=place, ha="center", va="top", fontsize=9, color=BAD)


def choose_clips(manifest: pd.DataFrame, shown: int = SHOWN_CLIPS) -> pd.DataFrame:
    """Existing clips with a problem: the first of each kind, then the second of each, …; severe kinds first.

    None if no clip was looked for: then an utterance's problem is one of its annotation.
    """
    is_there = ~manifest["clip_missing"] & clips_are_looked_for(manifest)
    rows = manifest[is_there & (manifest["left_out"] | to_check(manifest))]
    kinds = [name for name, kind in KINDS.items() if kind.weight != "known"]
    places: dict[Hashable, tuple[int, int]] = {}
    for weight, name in enumerate(kinds):
        for turn, row in enumerate(rows.index[rows[name]][:shown]):
            places[row] = min(places.get(row, (turn, weight)), (turn, weight))
    first = sorted(places, key=lambda row: places[row])[:shown]
    return rows.loc[first].sort_values("left_out", ascending=False, kind="stable")


def problem_sheet_figure(chosen: pd.DataFrame, pictures: Mapping[str, np.ndarray]) -> Figure:
    """A frame [height, width, 3] of each chosen clip, if one decodes, with its name and findings; red: left out."""
    rows = max(1, -(-len(chosen) // CLIPS_IN_ROW))
    figure = PlainFigure(12, 2.5 * rows if len(chosen) else 0.8)
    axes = figure.subplots(rows, CLIPS_IN_ROW, squeeze=False).ravel()
    for ax in axes[len(chosen) :]:
        ax.axis("off")
    if chosen.empty:
        figure.suptitle("No clip with a problem is known.")
    for ax, row in zip(axes, chosen.to_dict("records"), strict=False):
        draw_frame(ax, pictures.get(row["clip"]))
        ax.set_title(row["utterance"], fontsize=10)
        colour = BAD if row["left_out"] else CHECK
        ax.set_xlabel(fill(row["findings"].replace("_", " "), 30), fontsize=8, color=colour)
    return figure
