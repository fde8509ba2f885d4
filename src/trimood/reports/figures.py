"""Figures of one experiment: confusion matrices, learning curves, modality ablation; what all figures share."""

import warnings
from collections.abc import Sequence
from io import BytesIO
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from trimood.emotions import EMOTIONS
from trimood.scoring.metrics import Scores

BLUE, PALE_BLUE, RED, BROWN, GREY = "#4c78a8", "#c9d3e0", "#e45756", "#8a6d3b", "#9a9a9a"
"""Colours of all figures, in addition to `html.MARK_COLOURS`; training is blue, validation red."""


class PlainFigure(Figure):
    """A figure of this size in inches; its words are drawn as they are, and a character without a glyph is a box.

    Words come from transcripts and from names of experiments: matplotlib would read what is between two dollar signs as
    a formula, and stop at one that is none.
    """

    __module__ = Figure.__module__  # by which Gradio knows a figure of matplotlib

    def __init__(self, width: float, height: float) -> None:
        super().__init__(figsize=(width, height), layout="constrained")
        self._drawn: dict[str, bytes] = {}

    def savefig(self, fname: Any, **options: Any) -> None:
        """As matplotlib's, but to an open file it draws once for each set of options, and finds the layout once.

        A figure goes to a page and to files, and most of the time is spent on its layout. So it must be finished before
        it is saved.
        """
        if not hasattr(fname, "write"):
            super().savefig(fname, **options)
            return
        key = repr(sorted(options.items()))
        if key not in self._drawn:
            file = BytesIO()
            super().savefig(file, **options)
            self._drawn[key] = file.getvalue()
            self.set_layout_engine("none")
        fname.write(self._drawn[key])

    def draw(self, renderer: RendererBase) -> None:
        """As matplotlib's, which every way of storing or showing a figure calls."""
        for text in self.findobj(Text):
            text.set_parse_math(False)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font|constrained_layout not applied")
            super().draw(renderer)

    def set_title(self, words: str, fontsize: float = 12) -> None:
        """Writes a title above all axes, in lines that fit; matplotlib's own wrapping would read formulas."""
        longest = int(self.get_figwidth() * 72 / (0.55 * fontsize))  # 0.55: a usual letter's width by its height
        self.suptitle("\n".join(fill(line, longest) for line in words.split("\n")), fontsize=fontsize)


def in_a_row(figure: Figure, count: int) -> list[Axes]:
    """Adds `count` axes beside each other."""
    return list(figure.subplots(1, count, squeeze=False)[0])


def draw_cells(
    ax: Axes, values: np.ndarray, words: np.ndarray, rows: Sequence[str], columns: Sequence[str], **style: Any
) -> AxesImage:
    """Draws `values` [row, column] as colours, with a word on each; `style` is that of `imshow`."""
    image = ax.imshow(values, **style)
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(len(rows)), rows)
    for (row, column), word in np.ndenumerate(words):
        colour = "white" if abs(values[row, column]) > 0.55 * style["vmax"] else "black"
        ax.text(column, row, word, ha="center", va="center", color=colour, fontsize=9)
    return image


def draw_matrix(ax: Axes, counts: np.ndarray) -> AxesImage:
    """Draws counts [true, predicted], coloured by their share of the row, with the emotions as labels."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = draw_cells(ax, share, counts.astype(str), EMOTIONS, EMOTIONS, cmap="Blues", vmin=0, vmax=1)
    for text in ax.texts:
        if text.get_text() == "0":  # so that the mistakes are easier to see
            text.set_color("#aaaaaa")
    ax.set(xlabel="predicted", ylabel="true")
    return image


def draw_epochs(ax: Axes, epochs: ArrayLike, training: ArrayLike, validation: ArrayLike, style: str) -> None:
    """Draws a line for each of the two splits over whole epochs; NaN is a gap in the line."""
    ax.plot(epochs, training, style, color=BLUE, label="training")
    ax.plot(epochs, validation, style, color=RED, label="validation")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")
    ax.grid(alpha=0.3)


def confusion_figure(scores: Scores, title: str) -> Figure:
    """A confusion matrix for each split: rows true, columns predicted, counts coloured by their share of the row."""
    figure = PlainFigure(5.4 * len(scores) + 0.6, 5.6)
    figure.set_title(title)
    axes = in_a_row(figure, len(scores))
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


def learning_curves_figure(history: list[dict[str, float]], title: str) -> Figure:
    """Macro F1 and loss of each epoch on training and validation; a dotted line marks the best epoch.

    An epoch without training scores is a gap in the line.
    """
    figure = PlainFigure(9, 3.8)
    figure.set_title(title)
    table = pd.DataFrame(history).reindex(columns=["epoch", *_CURVES])
    best = max(history, key=lambda row: row["validation/macro_f1"])["epoch"]
    axes = in_a_row(figure, 2)
    for ax, measure, name in zip(axes, ("macro_f1", "loss"), ("macro F1", "cross-entropy loss"), strict=True):
        draw_epochs(ax, table["epoch"], table[f"train/{measure}"], table[f"validation/{measure}"], "o-")
        ax.axvline(best, color="grey", linestyle=":", label="best epoch")
        ax.set_ylabel(name)
        ax.legend(frameon=False)
    axes[0].set_ylim(bottom=0)
    return figure


_CURVES = [f"{split}/{measure}" for split in ("train", "validation") for measure in ("macro_f1", "loss")]


def modality_ablation_figure(ablation: pd.DataFrame, title: str) -> Figure:
    """For each split, the loss of macro F1 and of each emotion's F1 with a modality blanked or shuffled."""
    splits = ablation["split"].unique()
    changed = ablation[ablation["change"] != "intact"]
    figure = PlainFigure(6.4 * len(splits) + 0.6, 1.6 + 0.42 * len(changed) / len(splits))
    permutations, seed = (int(ablation[name].max()) for name in ("permutations", "seed"))
    figure.set_title(f"{title}\nloss of F1; shuffled: mean of {permutations} permutations, seed {seed}", 10)
    columns = ["macro_f1_drop", *(f"drop_{emotion}" for emotion in EMOTIONS)]
    limit = max(0.1, changed[columns].abs().to_numpy().max())
    axes = in_a_row(figure, len(splits))
    for ax, split in zip(axes, splits, strict=True):
        rows = changed[changed["split"] == split]
        drops = rows[columns].to_numpy(dtype=float)
        names = (rows["modality"] + " " + rows["change"]).tolist()
        style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "aspect": "auto"}
        image = draw_cells(ax, drops, np.char.mod("%+.2f", drops), names, ["macro", *EMOTIONS], **style)
        ax.axvline(0.5, color="black", linewidth=1)
        intact = ablation.loc[(ablation["split"] == split) & (ablation["change"] == "intact"), "macro_f1"].item()
        ax.set_title(f"{split}: intact macro F1 {intact:.3f}", fontsize=10)
    figure.colorbar(image, ax=axes, label="loss of F1")
    return figure
