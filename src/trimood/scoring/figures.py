"""Pictures of scores: confusion matrices and learning curves."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimood.emotions import EMOTIONS

_TRAINING, _VALIDATION = "#4c78a8", "#e45756"


def confusion_figure(scores: dict[str, dict[str, Any]], title: str) -> Figure:
    """A matrix for each split, rows true, columns predicted; colour is the share of the row, numbers are counts."""
    figure = Figure(figsize=(6.2 * len(scores), 5.8), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(1, len(scores), squeeze=False)[0]
    for ax, (split, of_split) in zip(axes, scores.items(), strict=True):
        _draw_matrix(ax, np.array(of_split["confusion_matrix"]))
        missing = of_split["never_predicted"]
        ax.set_title(
            f"{split}: macro F1 {of_split['macro_f1']:.3f}, {of_split['utterances']} utterances"
            + (f"\nnever predicted: {', '.join(missing)}" if missing else ""),
            fontsize=10,
        )
    return figure


def _draw_matrix(ax: Axes, counts: np.ndarray) -> None:
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45, ha="right")
    ax.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    for row, column in np.ndindex(*counts.shape):
        colour = "white" if share[row, column] > 0.5 else "black"
        ax.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=9)


def learning_curves_figure(history: list[dict[str, float]], title: str) -> Figure:
    """Macro F1 and loss per epoch, training beside validation; the dotted line marks the epoch kept as best."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in history]
    best = max(history, key=lambda row: row["validation/macro_f1"])["epoch"]
    for ax, measure, name in zip(
        figure.subplots(1, 2), ("macro_f1", "loss"), ("macro F1", "cross-entropy loss"), strict=True
    ):
        ax.plot(epochs, [row[f"train/{measure}"] for row in history], "o-", color=_TRAINING, label="training")
        ax.plot(epochs, [row[f"validation/{measure}"] for row in history], "o-", color=_VALIDATION, label="validation")
        ax.axvline(best, color="grey", linestyle=":", label="best epoch")
        ax.set_xlabel("epoch")
        ax.set_ylabel(name)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    return figure
