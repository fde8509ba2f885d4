"""The comparison as log lines, a Markdown table and an HTML page."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from trimood.config.parameters import Corpus
from trimood.emotions import EMOTIONS
from trimood.reports.html import in_markdown, render
from trimood.scoring.calibration import BINS, made_worse
from trimood.scoring.comparison import Comparison, Score, System, SystemCalibration
from trimood.scoring.intervals import Estimate, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OUTCOMES: dict[Outcome, str] = {"better": "better", "worse": "worse", "not_significant": "no significant difference"}

PUBLISHED_FOR: dict[Corpus, str] = {
    "ecf": "ECF 2.0 (Friends), which is not the corpus of the demo",
    "meld": "MELD's test split (Friends)",
}
"""The corpus of the published figures, for the figure of scores."""


def percent(confidence: float) -> str:
    """A confidence level as a percentage: 0.95 gives "95 %"."""
    return f"{100 * confidence:g} %"


def in_a_line(name: str, system: System, baseline: str) -> str:
    """The score of a system and how it compares with the baseline, for the log."""
    words = f"{name}: macro F1 {_with_interval(system.macro_f1)}".replace("\u00a0", " ")
    if difference := system.difference:
        words += f"; compared with {baseline}: {OUTCOMES[difference.outcome]} (p {_p(difference.p_holm)})"
    return words


def markdown(comparison: Comparison) -> str:
    """A row for each experiment, each reference, and each published figure with its split."""
    return _render("comparison.md", comparison, {})


def remarks(comparison: Comparison) -> str:
    """In what the systems differ, in Markdown; MLflow shows it on top of the run."""
    lines = [f"- {in_markdown(_sentence(remark))}" for remark in comparison.remarks]
    return "\n".join(lines) or "All experiments have the same seeds and training settings."


def comparison_page(comparison: Comparison, figures: "Mapping[str, Figure]") -> str:
    """The HTML page; figures may be left out."""
    return _render("comparison.html", comparison, figures)


def _render(template: str, comparison: Comparison, figures: "Mapping[str, Figure]") -> str:
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
        sentence=_sentence,
        interval=_interval,
        with_interval=_with_interval,
        p=_p,
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


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."


def _with_interval(of: Score | Estimate, form: str = ".3f") -> str:
    return f"{of.value:{form}} [{_interval(of, form)}]"


def _interval(of: Score | Estimate, form: str = ".3f") -> str:
    return f"{of.low:{form}}\u00a0to\u00a0{of.high:{form}}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
