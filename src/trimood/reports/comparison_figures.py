"""Figures of a comparison, one for each question."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trimood.emotions import EMOTIONS
from trimood.reports.comparison import PUBLISHED_FOR
from trimood.reports.figures import BLUE, BROWN, GREY, RED, PlainFigure, draw_cells, draw_epochs, draw_matrix
from trimood.reports.html import MARK_COLOURS
from trimood.reports.wording import OUTCOMES, percent
from trimood.scoring.comparison import Comparison
from trimood.scoring.intervals import Estimate, Outcome
from trimood.scoring.systems import Score, System

_OUTCOME_COLOURS: dict[Outcome, str] = {
    "better": MARK_COLOURS["good"],
    "worse": MARK_COLOURS["bad"],
    "not_significant": GREY,
}
_ROW_INCHES = 0.34


def figures(comparison: Comparison) -> dict[str, Figure]:
    """All figures by name."""
    systems = comparison.systems
    return {
        "scores": scores_figure(comparison),
        "differences": differences_figure(comparison),
        "classes": classes_figure(systems),
        "confusion": confusions_figure(systems),
        "calibration": calibration_figure(systems),
        "gap": gap_figure(systems),
    }


def scores_figure(comparison: Comparison) -> Figure:
    """A row for each system: macro F1, its interval, and a stroke for each seed; published figures as dotted lines."""
    systems = comparison.systems
    published = {known.title: known.macro_f1 for known in comparison.published if known.macro_f1 is not None}
    names = [*systems, *published]
    figure, ax = _rows(names)
    for place, of in enumerate(systems.values()):
        _draw_interval(ax, place, of.macro_f1, BLUE if of.training else BROWN)
        values = of.macro_f1.of_seeds
        if len(values) > 1:
            ax.plot(values, [place] * len(values), "|", color="black", markersize=9, alpha=0.6, zorder=4)
    for place, macro_f1 in enumerate(published.values(), len(systems)):
        ax.axvline(macro_f1, color=GREY, linestyle=":", linewidth=1, zorder=0)
        ax.plot(macro_f1, place, "D", color="white", markeredgecolor=GREY, markersize=6)
    ax.axhline(len(systems) - 0.5, color="#cccccc", linewidth=0.8)
    ax.set_xlim(left=0)
    ax.set_xlabel("test macro F1")
    level = percent(comparison.settings.confidence)
    figure.suptitle(
        f"Dots and bars: means over seeds and their {level} intervals. Strokes: single seeds.\n"
        f"Diamonds and dotted lines: published for {PUBLISHED_FOR[comparison.corpus]}.",
        fontsize=9,
        x=0.01,
        ha="left",
    )
    return figure


def differences_figure(comparison: Comparison) -> Figure:
    """Each system minus the baseline, with its interval; the colour is the outcome after Holm's correction."""
    settings = comparison.settings
    compared = {name: of.difference for name, of in comparison.systems.items() if of.difference}
    figure, ax = _rows(list(compared))
    for place, of in enumerate(compared.values()):
        _draw_interval(ax, place, of.estimate, _OUTCOME_COLOURS[of.outcome])
    ax.axvline(0, color="black", linewidth=0.8, zorder=0)
    ax.set_xlabel(f"difference of test macro F1 to {settings.baseline}")
    for outcome, colour in _OUTCOME_COLOURS.items():
        ax.plot([], [], "o-", color=colour, label=OUTCOMES[outcome])
    figure.legend(
        loc="outside upper left",
        ncols=3,
        frameon=False,
        fontsize=9,
        title=f"Bars: {percent(settings.confidence)} intervals. Colours: Holm-corrected p-values.",
        title_fontsize=9,
        alignment="left",
    )
    return figure


def classes_figure(systems: dict[str, System]) -> Figure:
    """F1 of each emotion, a row for each system; macro F1 is the mean of a row."""
    f1 = np.array([list(of.f1_of_classes.values()) for of in systems.values()])  # [system, class]
    figure = PlainFigure(7.6, 1.5 + _ROW_INCHES * len(systems))
    ax = figure.subplots()
    style = {"cmap": "Blues", "vmin": 0, "vmax": 1, "aspect": "auto"}
    image = draw_cells(ax, f1, np.char.mod("%.2f", f1), list(systems), EMOTIONS, **style)
    figure.colorbar(image, ax=ax, label="test F1, mean over seeds", shrink=0.9)
    return figure


def confusions_figure(systems: dict[str, System]) -> Figure:
    """A confusion matrix for each system, summed over seeds; the colour is the share of the true emotion."""
    figure, axes = _grid(len(systems), width=4.6, height=4.5)
    for ax, (name, of) in zip(axes, systems.items(), strict=True):
        draw_matrix(ax, np.array(of.confusion_matrix))
        ax.set_title(f"{name}, {_seeds(of)}", fontsize=10)
    return figure


def calibration_figure(systems: dict[str, System]) -> Figure:
    """Accuracy by confidence, before and after the temperature; a dot's area is the share of utterances in its bin."""
    calibrated = {name: of.calibration for name, of in systems.items() if of.calibration}
    figure, axes = _grid(len(calibrated), width=3.1, height=3.2, share=True)
    for ax, (name, of) in zip(axes, calibrated.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1)
        for when, scores, colour in (("before", of.before, BLUE), ("after", of.after, RED)):
            bins = scores.reliability
            total = sum(row.utterances for row in bins)
            sizes = [8 + 250 * row.utterances / total for row in bins]
            points = [row.confidence for row in bins], [row.accuracy for row in bins]
            ax.plot(*points, color=colour, linewidth=1, label=f"{when}: ECE {scores.expected_calibration_error:.3f}")
            ax.scatter(*points, s=sizes, color=colour, alpha=0.45, linewidth=0)
        ax.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        ax.set_title(f"{name}, T = {of.temperature:.2f}", fontsize=10)
        ax.legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def gap_figure(systems: dict[str, System]) -> Figure:
    """Macro F1 of training and validation at each epoch, means over seeds; the filled gap is the over-fitting."""
    experiments = {name: of for name, of in systems.items() if of.training}
    figure, axes = _grid(len(experiments), width=3.1, height=2.7, share=True)
    for ax, (name, of) in zip(axes, experiments.items(), strict=True):
        epochs = np.array([point.epoch for point in of.curves])
        training = np.array([point.train for point in of.curves], dtype=float)  # None becomes NaN, a gap in the line
        validation = np.array([point.validation for point in of.curves])
        ax.fill_between(epochs, validation, training, color=BLUE, alpha=0.12, linewidth=0)
        draw_epochs(ax, epochs, training, validation, ".-")
        ax.set_title(f"{name}, {_seeds(of)}", fontsize=10)
        ax.set(ylabel="macro F1", ylim=(0, 1))
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    return figure


def _rows(names: list[str]) -> tuple[Figure, Axes]:
    """A figure with a row for each name, the first one at the top."""
    figure = PlainFigure(9, 1.5 + _ROW_INCHES * len(names))
    ax = figure.subplots()
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return figure, ax


def _draw_interval(ax: Axes, place: int, of: Score | Estimate, colour: str) -> None:
    ax.plot([of.low, of.high], [place, place], color=colour, linewidth=5, alpha=0.35, solid_capstyle="round")
    ax.plot(of.value, place, "o", color=colour, markersize=7, zorder=3)


def _grid(count: int, width: float, height: float, share: bool = False) -> tuple[Figure, list[Axes]]:
    """`count` axes, three in a row, or four if there are more than six; unused axes are hidden."""
    columns = min(count, 4 if count > 6 else 3)
    lines = -(-count // columns)
    figure = PlainFigure(width * columns, height * lines)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=share, sharey=share).ravel().tolist()
    for unused in axes[count:]:
        unused.set_visible(False)
    if share:  # label only the axes at the left and lower edges
        for place, ax in enumerate(axes[:count]):
            ax.tick_params(labelbottom=place + columns >= count, labelleft=place % columns == 0)
            ax.xaxis.label.set_visible(place + columns >= count)
            ax.yaxis.label.set_visible(place % columns == 0)
    return figure, axes[:count]


def _seeds(system: System) -> str:
    count = len(system.seeds)
    if system.training is None:
        return "reference"
    return "1 seed" if count == 1 else f"{count} seeds"
