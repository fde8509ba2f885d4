"""Figures of one experiment: confusion matrices, learning curves, modality ablation; the colours of all figures."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from trimood.emotions import EMOTIONS
from trimood.scoring.metrics import Scores

BLUE, PALE_BLUE, RED, BROWN, GREY = "#4c78a8", "#c9d3e0", "#e45756", "#8a6d3b", "#9a9a9a"
"""Colours of all figures, in addition to `html.MARK_COLOURS`; training is blue, validation red."""


def confusion_figure(scores: Scores, title: str) -> Figure:
    """A confusion matrix for each split: rows true, columns predicted, counts coloured by their share of the row."""
    figure = Figure(figsize=(5.4 * len(scores) + 0.6, 5.6), layout="constrained")
    figure.suptitle(title, wrap=True)
    axes = figure.subplots(1, len(scores), squeeze=False)[0]
    for ax, (split, of_split) in zip(axes, scores.items(), strict=True):
        image = draw_matrix(ax, np.array(of_split["confusion_matrix"]))
        missing = of_split["never_predicted"]
        ax.set_title(
            f"{split}: macro F1 {of_split['macro_f1']:.3f}, {of_split['utterances']} utterances"
            + (f"\nnever predicted: {', '.join(missing)}" if missing else ""),
            fontsize=10,
        )
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the true emotion")
    return figure


def draw_matrix(ax: Axes, counts: np.ndarray) -> AxesImage:
    """Draws counts [true, predicted], coloured by their share of the row, with the emotions as labels."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(EMOTIONS)), EMOTIONS)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    for row, column in np.ndindex(*counts.shape):
        # Zeros are pale, so that the mistakes are easier to see.
        colour = "white" if share[row, column] > 0.5 else "black" if counts[row, column] else "#aaaaaa"
        ax.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=9)
    return image


def learning_curves_figure(history: list[dict[str, float]], title: str) -> Figure:
    """Macro F1 and loss of each epoch on training and validation; a dotted line marks the best epoch.

    An epoch without training scores is a gap in the line.
    """
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    figure.suptitle(title, wrap=True)
    epochs = [row["epoch"] for row in history]
    best = max(history, key=lambda row: row["validation/macro_f1"])["epoch"]
    macro_f1, loss = figure.subplots(1, 2)
    for ax, measure, name in ((macro_f1, "macro_f1", "macro F1"), (loss, "loss", "cross-entropy loss")):
        for split, colour, words in (("train", BLUE, "training"), ("validation", RED, "validation")):
            values = [row.get(f"{split}/{measure}", np.nan) for row in history]
            ax.plot(epochs, values, "o-", color=colour, label=words)
        ax.axvline(best, color="grey", linestyle=":", label="best epoch")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set_xlabel("epoch")
        ax.set_ylabel(name)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    macro_f1.set_ylim(bottom=0)
    return figure


def modality_ablation_figure(ablation: pd.DataFrame, title: str) -> Figure:
    """For each split, the loss of macro F1 and of each emotion's F1 with a modality blanked or shuffled."""
    splits = list(ablation["split"].unique())
    changed = ablation[ablation["change"] != "intact"]
    height = 1.6 + 0.42 * len(changed) / len(splits)
    figure = Figure(figsize=(6.4 * len(splits) + 0.6, height), layout="constrained")
    permutations, seed = (int(ablation[name].max()) for name in ("permutations", "seed"))
    figure.suptitle(
        f"{title}\nloss of F1; shuffled: mean of {permutations} permutations, seed {seed}", fontsize=10, wrap=True
    )
    columns = ["macro_f1_drop", *(f"drop_{emotion}" for emotion in EMOTIONS)]
    limit = max(0.1, changed[columns].abs().to_numpy().max())
    axes = figure.subplots(1, len(splits), squeeze=False)[0]
    for ax, split in zip(axes, splits, strict=True):
        rows = changed[changed["split"] == split]
        image = _draw_drops(ax, rows[columns].to_numpy(dtype=float), limit)
        ax.set_yticks(range(len(rows)), (rows["modality"] + " " + rows["change"]).tolist())
        intact = ablation.loc[(ablation["split"] == split) & (ablation["change"] == "intact"), "macro_f1"].item()
        ax.set_title(f"{split}: intact macro F1 {intact:.3f}", fontsize=10)
    figure.colorbar(image, ax=axes, label="loss of F1")
    return figure


def _draw_drops(ax: Axes, drops: np.ndarray, limit: float) -> AxesImage:
    image = ax.imshow(drops, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    ax.set_xticks(range(1 + len(EMOTIONS)), ["macro", *EMOTIONS], rotation=45, ha="right", rotation_mode="anchor")
    ax.axvline(0.5, color="black", linewidth=1)
    for row, column in np.ndindex(*drops.shape):
        colour = "white" if abs(drops[row, column]) > 0.6 * limit else "black"
        ax.text(column, row, f"{drops[row, column]:+.2f}", ha="center", va="center", color=colour, fontsize=8)
    return image
