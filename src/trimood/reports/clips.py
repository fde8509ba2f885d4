"""Pictures of clips: frames, log-mel energies and words, as the model is given them."""

from textwrap import fill, shorten
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from trimood.emotions import EMOTIONS
from trimood.media.parts import Location, load_part

SHOWN_FRAMES = 4


def contact_sheet(training_examples: pd.DataFrame, prepared_clips: Location) -> Figure:
    """One row for each emotion that the training split has: four of the frames, the log-mel, and the words.

    What a clip lacks stays white; one that lacks nothing is preferred.
    """
    lacking = ~(training_examples["has_video"] & training_examples["has_audio"])
    best_first = training_examples.assign(lacking=lacking).sort_values(["lacking", "utterance"])
    there = best_first[best_first["part"] != ""]
    rows = there.groupby("emotion").first().reindex(EMOTIONS).dropna(subset="part")
    figure = Figure(figsize=(10, 1.35 * len(rows) + 0.3), layout="constrained")
    grid = figure.add_gridspec(len(rows), SHOWN_FRAMES + 3)
    for row, (emotion, example) in enumerate(rows.iterrows()):
        _draw_row(
            figure,
            grid,
            row,
            f"{emotion} · {example['utterance']}\n“{example['text']}”",
            prepared_clips / example["part"],
        )
    return figure


def _draw_row(figure: Figure, grid: GridSpec, row: int, words: str, part: Location) -> None:
    tensors = load_part(part)
    if "frames" in tensors:
        frames = tensors["frames"].permute(0, 2, 3, 1).numpy()  # [frame, height, width, 3]
        for column in range(SHOWN_FRAMES):
            ax = figure.add_subplot(grid[row, column])
            ax.imshow(frames[column * len(frames) // SHOWN_FRAMES])
            ax.axis("off")
    if "log_mel" in tensors:
        ax = figure.add_subplot(grid[row, SHOWN_FRAMES])
        ax.imshow(tensors["log_mel"].numpy().T, aspect="auto", origin="lower", cmap="magma")
        ax.set_xticks([])
        ax.set_yticks([])
    ax = figure.add_subplot(grid[row, SHOWN_FRAMES + 1 :])
    ax.axis("off")
    ax.text(0, 0.5, "\n".join(fill(line, 38) for line in words.split("\n")), va="center", fontsize=9)


_HIGHEST, _OTHER = "#e45756", "#b8c4d6"
_WIDTH_OF_WORDS, _LONGEST_WORDS = 42, 150


def predictions_figure(shown: pd.DataFrame, prepared_clips: Location, total: int) -> Figure:
    """A row for each utterance of `shown`: its middle frame, log-mel energies, words, calibrated probabilities."""
    figure = Figure(figsize=(11, 1.75 * len(shown) + 0.8), layout="constrained")
    rest = f", {len(shown)} of {total} utterances" if len(shown) < total else ""
    figure.suptitle(f"{shown['model'].iloc[0]}{rest}: probabilities, calibrated on validation", fontsize=11)
    grid = figure.add_gridspec(len(shown), 4, width_ratios=[1, 1.6, 2.4, 2])
    for number, row in enumerate(shown.to_dict("records")):
        part = load_part(prepared_clips / row["part"]) if row["part"] else {}
        axes = [figure.add_subplot(grid[number, column]) for column in range(4)]
        _draw_frame(axes[0], part)
        _draw_sound(axes[1], part, "audio" in row["modalities"])
        _draw_words(axes[2], row)
        _draw_bars(axes[3], row)
    return figure


def _draw_frame(ax: Axes, part: dict[str, Any]) -> None:
    ax.axis("off")
    if "frames" in part:
        frames = part["frames"]  # [frame, 3, height, width]
        ax.imshow(frames[len(frames) // 2].permute(1, 2, 0).numpy())
    else:
        ax.text(0.5, 0.5, "no picture", ha="center", va="center", color="grey", fontsize=9)


def _draw_sound(ax: Axes, part: dict[str, Any], is_read: bool) -> None:
    if "log_mel" not in part:
        ax.axis("off")
        ax.text(0.5, 0.5, "no sound", ha="center", va="center", color="grey", fontsize=9)
        return
    energies = part["log_mel"].numpy().T  # [mel, time]
    ax.imshow(energies, aspect="auto", origin="lower", cmap="magma", extent=(0, energies.shape[1] / 100, 0, 1))
    ax.set_yticks([])
    ax.tick_params(labelsize=7)
    ax.set_xlabel("seconds" if is_read else "seconds (not read by this model)", fontsize=7)


def _draw_words(ax: Axes, row: dict[Any, Any]) -> None:
    ax.axis("off")
    words = shorten(row["text"], _LONGEST_WORDS, placeholder=" …")
    ax.text(0, 0.95, row["utterance"], va="top", fontsize=8, color="grey")
    ax.text(0, 0.72, fill(f"“{words}”", _WIDTH_OF_WORDS) if words else "no words", va="top", fontsize=10)
    if row["absent"]:
        ax.text(0, 0.02, fill(f"absent: {row['absent']}", 48), va="bottom", fontsize=8, color=_HIGHEST)


def _draw_bars(ax: Axes, row: dict[Any, Any]) -> None:
    values = [row[f"calibrated_{emotion}"] for emotion in EMOTIONS]
    colours = [_HIGHEST if emotion == row["predicted"] else _OTHER for emotion in EMOTIONS]
    bars = ax.barh(EMOTIONS, values, color=colours)
    ax.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
    ax.set_xlim(0, 1.12)
    ax.invert_yaxis()
    ax.tick_params(labelsize=8)
    ax.set_xticks([])
    for side in ("top", "right", "bottom"):
        ax.spines[side].set_visible(False)
