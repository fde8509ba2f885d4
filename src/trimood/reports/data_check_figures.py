"""Pictures of a corpus: its classes beside the published ones, how long its clips last, and the clips with problems."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from trimood.corpus.anomalies import LONG_SPAN_SECONDS, SHORT_SPAN_SECONDS
from trimood.emotions import EMOTIONS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HERE, PUBLISHED_COLOUR, BAD, LOOK = "#4c78a8", "#c9d3e0", "#b3362f", "#b7791f"
SHORTEST_DRAWN_SECONDS = 0.01
CLIPS_IN_ROW = 6


def class_balance_figure(annotation_files: dict[str, Any]) -> "Figure":
    """Utterances of each emotion in each labelled file, beside the published file that it is or resembles."""
    from matplotlib.figure import Figure

    labelled = {side: facts for side, facts in annotation_files.items() if facts["labelled_utterances"]}
    figure = Figure(figsize=(5.2 * max(1, len(labelled)), 3.6), layout="constrained")
    axes = figure.subplots(1, max(1, len(labelled)), squeeze=False)[0]
    if not labelled:
        axes[0].text(0.5, 0.5, "no label in any file", ha="center")
        axes[0].axis("off")
    for ax, facts in zip(axes, labelled.values(), strict=False):
        places = np.arange(len(EMOTIONS))
        published = facts["published_emotions"]
        if published:
            ax.bar(places + 0.2, [published[e] for e in EMOTIONS], 0.4, color=PUBLISHED_COLOUR, label="published")
        here = [facts["emotions"][emotion] for emotion in EMOTIONS]
        bars = ax.bar(places - (0.2 if published else 0), here, 0.4, color=HERE, label="this copy")
        ax.bar_label(bars, [f"{count:,}" for count in here], fontsize=8, padding=2)
        ax.set_xticks(places, EMOTIONS, rotation=35, ha="right", rotation_mode="anchor")
        ax.set_title(facts["file"], fontsize=10)
        ax.set_ylabel("utterances")
        ax.margins(y=0.12)
        ax.spines[["top", "right"]].set_visible(False)
        if published:
            ax.legend(frameon=False)
    return figure


def durations_figure(manifest: pd.DataFrame) -> "Figure":
    """How many clips, and how many annotated spans, last how long; too short and too long are shaded and counted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.8), layout="constrained")
    ax = figure.subplots()
    both = {"clips": manifest["clip_seconds"].dropna(), "annotated spans": manifest["span_seconds"].dropna()}
    series = {name: seconds for name, seconds in both.items() if len(seconds)}
    longest = max([10 * LONG_SPAN_SECONDS, *(1.05 * float(seconds.max()) for seconds in series.values())])
    edges = np.geomspace(SHORTEST_DRAWN_SECONDS, longest, 60)
    for name, seconds in series.items():
        style: dict[str, Any] = (
            {"color": HERE, "alpha": 0.75} if name == "clips" else {"color": LOOK, "histtype": "step", "linewidth": 1.6}
        )
        label = f"{len(seconds):,} {name}, median {seconds.median():.1f} s"
        ax.hist(seconds.clip(lower=SHORTEST_DRAWN_SECONDS), edges.tolist(), label=label, **style)
    short = [f"{int((seconds < SHORT_SPAN_SECONDS).sum()):,} {name}" for name, seconds in series.items()]
    long = [f"{int((seconds > LONG_SPAN_SECONDS).sum()):,} {name}" for name, seconds in series.items()]
    _shade(ax, SHORTEST_DRAWN_SECONDS, SHORT_SPAN_SECONDS, [f"under {SHORT_SPAN_SECONDS:g} s", *short])
    _shade(ax, LONG_SPAN_SECONDS, longest, [f"over {LONG_SPAN_SECONDS:g} s", *long])
    ax.set_xscale("log")
    ax.set_xlim(SHORTEST_DRAWN_SECONDS, longest)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("seconds, on a logarithmic scale (0.01 and below stand at 0.01)")
    ax.set_ylabel("utterances")
    ax.spines[["top", "right"]].set_visible(False)
    if series:
        figure.legend(frameon=False, loc="outside upper center", ncols=2)
    return figure


def _shade(ax: "Axes", left: float, right: float, lines: list[str]) -> None:
    ax.axvspan(left, right, color=BAD, alpha=0.08)
    middle = (left * right) ** 0.5  # of a logarithmic axis
    place = ax.get_xaxis_transform()
    ax.text(middle, 0.97, "\n".join(lines), transform=place, ha="center", va="top", fontsize=9, color=BAD)


def problem_sheet_figure(chosen: pd.DataFrame, pictures: dict[str, np.ndarray]) -> "Figure":
    """A frame of each chosen clip, where one decodes, under its name and above what was found; red: it is left out."""
    from textwrap import fill

    from matplotlib.figure import Figure

    rows = max(1, -(-len(chosen) // CLIPS_IN_ROW))
    figure = Figure(figsize=(12, 2.5 * rows if len(chosen) else 0.8), layout="constrained")
    axes = figure.subplots(rows, CLIPS_IN_ROW, squeeze=False).ravel()
    for ax in axes:
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_visible(False)
    if chosen.empty:
        figure.suptitle("No clip has a problem.")
    for ax, row in zip(axes, chosen.to_dict("records"), strict=False):
        picture = pictures.get(row["clip"])
        if picture is None:
            ax.set_facecolor("#eceff3")
            ax.text(0.5, 0.5, "no picture", ha="center", va="center", color="#7a8496", transform=ax.transAxes)
        else:
            ax.imshow(picture)
        ax.set_title(row["utterance"], fontsize=10)
        colour = BAD if row["left_out"] else LOOK
        ax.set_xlabel(fill(row["findings"].replace("_", " "), 30), fontsize=8, color=colour)
    return figure
