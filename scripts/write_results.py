"""Writes the table of a comparison into docs/results.md, between two marks, and draws the figure of README.md.

python scripts/write_results.py data/demo/08_reporting/comparison
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from trimood.reports.figures import PlainFigure
from trimood.scoring.comparison import Comparison
from trimood.scoring.systems import Training

PROJECT = Path(__file__).parents[1]
PAGE, PICTURE = PROJECT / "docs" / "results.md", PROJECT / "docs" / "pictures" / "comparison.png"
BEGIN, END = "<!-- results: written by make results -->\n", "<!-- end of results -->"
WITH_VOICE, WITHOUT, WORDS_ALONE = "#d1603d", "#4a7a9c", "#8a8a8a"
TRAINED = {
    ("everything", "trained"): "everything trained",
    ("head", "trained"): "head only",
    ("lora", "frozen"): "adapters",
    ("lora", "trained"): "adapters + head",
}


def _trained(of: Training) -> str:
    words = TRAINED[of.train, of.head]
    return words if of.head_kind == "linear" else f"{words}, {of.head_kind}"


def write_table(table: str) -> None:
    """Replaces the table between the marks of the page."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        sys.exit(f"{PAGE}: the marks {BEGIN.strip()} and {END} must both be in it, in this order")
    PAGE.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def draw(comparison: Comparison) -> Figure:
    """A dot and an interval for each experiment, the best at the top; TF-IDF on the words is the line to beat."""
    systems = comparison.systems
    trained = [(name, of, of.training) for name, of in systems.items() if of.training]
    ordered = sorted(trained, key=lambda system: system[1].macro_f1.value)
    figure = PlainFigure(8.4, 4.6)
    ax = figure.subplots()
    for place, (_, of, training) in enumerate(ordered):
        score, colour = of.macro_f1, WITH_VOICE if "audio" in training.modalities else WITHOUT
        ax.plot([score.low, score.high], [place, place], color=colour, alpha=0.35, linewidth=9, solid_capstyle="butt")
        ax.plot(score.value, place, "o", color=colour, markersize=10)
        ax.text(score.high + 0.015, place, f"{score.value:.2f}", color=colour, va="center", fontsize=11)
    words = systems["TF-IDF"].macro_f1.value
    ax.axvline(words, color=WORDS_ALONE, linestyle="--", linewidth=1.2, zorder=0)
    ax.axvspan(0, words, color=WORDS_ALONE, alpha=0.08, linewidth=0, zorder=0)
    line = f"the line to beat: {words:.2f}\nTF-IDF of the words,\nno neural network"
    ax.text(words - 0.01, len(ordered) - 0.4, line, ha="right", va="top", fontsize=10)
    ax.set_yticks(range(len(ordered)), [f"{name}: {_trained(of)}" for name, _, of in ordered])
    ax.set_xlim(0, 1)
    ax.set_ylim(-0.7, len(ordered) - 0.3)
    seeds = sorted({len(of.seeds) for _, of, _ in ordered})
    percent = f"{100 * comparison.settings.confidence:g} %"
    mean = "one seed" if seeds == [1] else f"mean of {' or '.join(map(str, seeds))} seeds"
    ax.set_xlabel(f"macro F1 on the test conversations ({mean} and {percent} interval)")
    ax.tick_params(labelsize=11, length=0)
    ax.grid(axis="x", alpha=0.3)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    colours = [Patch(color=WITH_VOICE, label="words, faces and voice"), Patch(color=WITHOUT, label="words and faces")]
    ax.legend(handles=colours, loc="lower right", frameon=False, fontsize=11)
    figure.suptitle("Nine experiments on the demo corpus: how well are seven emotions recognised?", fontsize=13)
    return figure


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    write_table((folder / "table.md").read_text(encoding="utf-8"))
    draw(Comparison.model_validate_json((folder / "comparison.json").read_bytes())).savefig(PICTURE, dpi=110)
