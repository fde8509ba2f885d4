"""The comparison as log lines, a Markdown table and an HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from trimood.config.parameters import Corpus
from trimood.emotions import EMOTIONS
from trimood.reports.answers import answers, as_markdown, bars, score_to_beat
from trimood.reports.html import in_markdown, render
from trimood.reports.mistakes import Mistakes
from trimood.reports.wording import OUTCOMES, interval, p_value, percent, sentence, with_interval
from trimood.scoring.calibration import BINS, made_worse
from trimood.scoring.comparison import Comparison
from trimood.scoring.groups import FEW
from trimood.scoring.systems import System, SystemCalibration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED_FOR: dict[Corpus, str] = {
    "ecf": "ECF 2.0 (Friends), which is not the corpus of the demo",
    "meld": "MELD's test split (Friends)",
}
"""The corpus of the published figures, for the figure of scores."""


def in_a_line(name: str, system: System, baseline: str) -> str:
    """The score of a system and how it compares with the baseline, for the log."""
    words = f"{name}: macro F1 {with_interval(system.macro_f1)}".replace("\u00a0", " ")
    if difference := system.difference:
        words += f"; compared with {baseline}: {OUTCOMES[difference.outcome]} (p {p_value(difference.p_holm)})"
    return words


def markdown(comparison: Comparison) -> str:
    """A row for each experiment, each reference, and each published figure with its split."""
    return _render("comparison.md", comparison, {})


def remarks(comparison: Comparison) -> str:
    """The five answers, and in what the systems differ, in Markdown; MLflow shows it on top of the run."""
    lines = [f"- {in_markdown(sentence(remark))}" for remark in comparison.remarks]
    differences = "\n".join(lines) or "All experiments have the same seeds and training settings."
    return f"{as_markdown(answers(comparison))}\n\n**Before you compare**\n\n{differences}"


def comparison_page(
    comparison: Comparison,
    figures: "Mapping[str, Figure]",
    mistakes: Mistakes | None = None,
    groups: pd.DataFrame | None = None,
) -> str:
    """The HTML page; figures, the mistakes to look at, and the table of `scoring.groups` may be left out."""
    return _render(
        "comparison.html",
        comparison,
        figures,
        answers=answers(comparison),
        bars=bars(comparison),
        to_beat=score_to_beat(comparison),
        mistakes=mistakes or Mistakes(),
        group_tables=[] if groups is None else _group_tables(groups),
        few=FEW,
    )


@dataclass(frozen=True)
class GroupScores:
    """The scores of one system in one group, and the number of emotions that occur in it."""

    emotions: int
    macro_f1: float
    accuracy: float


@dataclass(frozen=True)
class GroupTable:
    """The groups of one kind: the number of utterances of each, and its scores by system."""

    kind: str
    sizes: dict[str, int]
    scores: dict[str, dict[str, GroupScores]]


def _group_tables(groups: pd.DataFrame) -> list[GroupTable]:
    tables: dict[str, GroupTable] = {}
    for row in groups.to_dict("records"):
        table = tables.setdefault(row["kind"], GroupTable(row["kind"], {}, {}))
        table.sizes[row["group"]] = row["utterances"]
        found = GroupScores(row["emotions"], row["macro_f1"], row["accuracy"])
        table.scores.setdefault(row["group"], {})[row["system"]] = found
    return list(tables.values())


def _render(template: str, comparison: Comparison, figures: "Mapping[str, Figure]", **more: object) -> str:
    return render(
        template,
        figures,
        comparison=comparison,
        outcomes=OUTCOMES,
        emotions=[f"# {emotion}" for emotion in EMOTIONS],
        bins=BINS,
        percent=percent,
        trained=_trained,
        never_predicted=_never_predicted,
        calibration_effect=_calibration_effect,
        sentence=sentence,
        interval=interval,
        with_interval=with_interval,
        p=p_value,
        **more,
    )


def _trained(system: System) -> str:
    """The modalities that a system uses and the parts that were trained."""
    if system.training is None:
        return "reference"
    whole = {"everything": "everything", "head": "the head only"}
    trained = whole.get(system.training.train, f"LoRA, head {system.training.head}")
    kind = "" if system.training.head_kind == "linear" else f", {system.training.head_kind} head"
    return f"{system.training.modalities}: {trained}{kind}"


def _never_predicted(system: System) -> str:
    seeds = len(system.seeds)
    words = [f"{name} ({of} of {seeds} seeds)" if seeds > 1 else name for name, of in system.never_predicted.items()]
    return ", ".join(words) or "–"


def _calibration_effect(calibration: SystemCalibration) -> str:
    if len(calibration.not_fitted) == len(calibration.temperature_of_seeds):
        return "not fitted"
    worse = made_worse(calibration.before, calibration.after)
    return f"worse: {worse}" if worse else "better or equal"
