"""Pictures of a comparison, as `comparison.compare_systems` gives it: one figure for each question."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from trimood.emotions import EMOTIONS
from trimood.reports.figures import TRAINING, VALIDATION, draw_matrix

_COLOURS = {"experiment": "#2f5d8a", "reference": "#8a6d3b", "published": "#9a9a9a"}
_VERDICTS = {"better": "#2e7d4f", "worse": "#b3362f", "cannot be told apart": "#7a7a7a"}
_ROW_INCHES = 0.34


def figures(comparison: dict[str, Any]) -> dict[str, Figure]:
    """All of them by name."""
    systems = comparison["systems"]
    experiments = {name: of for name, of in systems.items() if of["kind"] == "experiment"}
    return {
        "scores": scores_figure(comparison),
        "differences": differences_figure(comparison),
        "classes": classes_figure(systems),
        "confusion": confusions_figure(systems),
        "calibration": calibration_figure({name: of for name, of in systems.items() if of["calibration"]}),
        "gap": gap_figure(experiments),
    }


def scores_figure(comparison: dict[str, Any]) -> Figure:
    """Macro F1 with its interval, a row each, strokes for single seeds; published figures as lines across all rows."""
    systems, published = comparison["systems"], comparison["published"]
    names = [*systems, *(figure["title"] for figure in published)]
    figure, ax = _rows(names)
    for place, of in enumerate(systems.values()):
        _interval(ax, place, of["macro_f1"], _COLOURS[of["kind"]])
        if len(of["macro_f1"]["of_seeds"]) > 1:
            values = of["macro_f1"]["of_seeds"]
            ax.plot(values, [place] * len(values), "|", color="black", markersize=9, alpha=0.6, zorder=4)
    for place, of in enumerate(published, len(systems)):
        ax.axvline(of["macro_f1"], color=_COLOURS["published"], linestyle=":", linewidth=1, zorder=0)
        ax.plot(of["macro_f1"], place, "D", color="white", markeredgecolor=_COLOURS["published"], markersize=6)
    ax.axhline(len(systems) - 0.5, color="#cccccc", linewidth=0.8)
    ax.set_xlim(left=0)
    ax.set_xlabel("test macro F1")
    percent = f"{100 * comparison['settings']['confidence']:g} %"
    figure.suptitle(
        f"Dot and bar: mean over seeds and its {percent} interval. Strokes: single seeds.\n"
        "Diamonds and dotted lines: published for ECF 2.0 (Friends), another corpus than the demo's.",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return figure


def differences_figure(comparison: dict[str, Any]) -> Figure:
    """Each system minus the baseline, with its interval; the colour is the verdict after correction."""
    settings = comparison["settings"]
    compared = {name: of["difference"] for name, of in comparison["systems"].items() if of["difference"]}
    figure, ax = _rows(list(compared))
    for place, of in enumerate(compared.values()):
        _interval(ax, place, of["estimate"], _VERDICTS[of["verdict"]])
    ax.axvline(0, color="black", linewidth=0.8, zorder=0)
    ax.set_xlabel(f"difference of test macro F1 to {settings['baseline']}")
    for verdict, colour in _VERDICTS.items():
        ax.plot([], [], "o-", color=colour, label=verdict)
    figure.legend(
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=9,
        title=f"Bars: {100 * settings['confidence']:g} % intervals. Colours: Holm-corrected p-values.",
        title_fontsize=9,
        alignment="left",
    )
    return figure


def classes_figure(systems: dict[str, Any]) -> Figure:
    """F1 of each emotion, systems below each other: macro F1 is the mean of a row."""
    f1 = np.array([list(of["f1_of_classes"].values()) for of in systems.values()])  # [system, class]
    figure = Figure(figsize=(7.6, 1.3 + _ROW_INCHES * len(systems)), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(f1, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(len(EMOTIONS)), EMOTIONS)
    ax.xaxis.tick_top()
    ax.set_yticks(range(len(systems)), list(systems))
    for row, column in np.ndindex(*f1.shape):
        colour = "white" if f1[row, column] > 0.6 else "black"
        ax.text(column, row, f"{f1[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=9)
    figure.colorbar(image, ax=ax, label="test F1, mean over seeds", shrink=0.9)
    return figure


def confusions_figure(systems: dict[str, Any]) -> Figure:
    """A matrix for each system, all seeds' answers together: rows true, columns predicted, colour the row's share."""
    figure, axes = _grid(len(systems), width=4.6, height=4.5)
    for ax, (name, of) in zip(axes, systems.items(), strict=True):
        draw_matrix(ax, np.array(of["confusion_matrix"]))
        ax.set_title(f"{name}, {_seeds(of)}", fontsize=10)
    return figure


def calibration_figure(systems: dict[str, Any]) -> Figure:
    """Accuracy against confidence, before and after the temperature; dots are as large as their bin has utterances."""
    figure, axes = _grid(len(systems), width=3.1, height=3.2, share=True)
    for ax, (name, of) in zip(axes, systems.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
        for when, colour in (("before", TRAINING), ("after", VALIDATION)):
            bins = of["calibration"][when]["reliability"]
            total = sum(row["utterances"] for row in bins)
            sizes = [8 + 250 * row["utterances"] / total for row in bins]
            points = [row["confidence"] for row in bins], [row["accuracy"] for row in bins]
            ax.plot(*points, color=colour, linewidth=1, label=f"{when}: ECE {of['calibration'][when]['ece']:.3f}")
            ax.scatter(*points, s=sizes, color=colour, alpha=0.45, linewidth=0)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        ax.set_title(f"{name}, T = {of['calibration']['temperature']:.2f}", fontsize=10)
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def gap_figure(experiments: dict[str, Any]) -> Figure:
    """Macro F1 of training and validation at each epoch, mean over seeds; the filled distance is the over-fitting."""
    figure, axes = _grid(len(experiments), width=3.1, height=2.7, share=True)
    for ax, (name, of) in zip(axes, experiments.items(), strict=True):
        curves = {
            part: np.array([row[part] for row in of["curves"]], dtype=float)
            for part in ("epoch", "train", "validation")
        }
        epochs = curves.pop("epoch")
        ax.fill_between(epochs, curves["validation"], curves["train"], color=TRAINING, alpha=0.12, linewidth=0)
        for part, colour, words in (("train", TRAINING, "training"), ("validation", VALIDATION, "validation")):
            ax.plot(epochs, curves[part], ".-", color=colour, label=words)
        ax.set_title(f"{name}, {_seeds(of)}", fontsize=10)
        ax.set(xlabel="epoch", ylabel="macro F1", ylim=(0, 1))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.grid(alpha=0.3)
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _rows(names: list[str]) -> tuple[Figure, Axes]:
    """A row for each name, the first on top."""
    figure = Figure(figsize=(9, 1.5 + _ROW_INCHES * len(names)), layout="constrained")
    ax = figure.subplots()
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return figure, ax


def _interval(ax: Axes, place: int, of: dict[str, Any], colour: str) -> None:
    ax.plot([of["low"], of["high"]], [place, place], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
    ax.plot(of["value"], place, "o", color=colour, markersize=7, zorder=3)


def _grid(count: int, width: float, height: float, share: bool = False) -> tuple[Figure, list[Axes]]:
    """So many axes in rows of three, four where there are many; those left over are hidden."""
    columns = min(count, 4 if count > 6 else 3)
    lines = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * lines), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=share, sharey=share).ravel().tolist()
    for unused in axes[count:]:
        unused.set_visible(False)
    if share:  # names and numbers of the axes at the edges only, where nothing hangs below or stands to the left
        for place, ax in enumerate(axes[:count]):
            ax.tick_params(labelbottom=place + columns >= count, labelleft=place % columns == 0)
            ax.xaxis.label.set_visible(place + columns >= count)
            ax.yaxis.label.set_visible(place % columns == 0)
    return figure, axes[:count]


def _seeds(system: dict[str, Any]) -> str:
    count = len(system["seeds"])
    if system["kind"] == "reference":
        return "reference"
    return "1 seed" if count == 1 else f"{count} seeds"
