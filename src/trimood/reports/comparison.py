"""The comparison as log lines, a Markdown table and an HTML page."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from trimood.emotions import EMOTIONS
from trimood.reports.html import Section, render
from trimood.scoring.baselines import PublishedFigure
from trimood.scoring.calibration import BINS
from trimood.scoring.comparison import Comparison, Score, System
from trimood.scoring.intervals import Estimate, Outcome

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Systems = Mapping[str, System]

OUTCOMES: dict[Outcome, str] = {"better": "better", "worse": "worse", "not_significant": "no significant difference"}


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
    baseline, level = comparison.settings.baseline, percent(comparison.settings.confidence)
    lines = [
        [
            *("", "trained", "seeds", "validation macro F1", f"test macro F1 [{level}]", "± over seeds"),
            *(
                f"test weighted F1 [{level}]",
                f"difference to {baseline} [{level}]",
                "p (Holm)",
                f"compared with {baseline}",
            ),
        ],
        ["---"] * 2 + ["--:"] * 7 + ["---"],
    ]
    for name, of in comparison.systems.items():
        difference = of.difference
        lines.append(
            [
                name,
                trained(of),
                str(len(of.seeds)) if of.training else "–",
                f"{of.validation_macro_f1:.3f}",
                _with_interval(of.macro_f1),
                _number(of.macro_f1.sd_over_seeds),
                _with_interval(of.weighted_f1),
                _with_interval(difference.estimate, "+.3f") if difference else "–",
                _p(difference.p_holm) if difference else "–",
                OUTCOMES[difference.outcome] if difference else "the baseline",
            ]
        )
    for figure in comparison.published:
        scores = [f"{figure.macro_f1:.3f}", "", _number(figure.weighted_f1)]
        lines.append([figure.title, "published for *Friends*", "", "", *scores, "", "", ""])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def trained(system: System) -> str:
    """The modalities that a system uses and the parts that were trained."""
    if system.training is None:
        return "reference"
    whole = {"everything": "everything", "head": "the head only"}
    return f"{system.training.modalities}: {whole.get(system.training.train, 'LoRA, head ' + system.training.head)}"


def scores_table(systems: Systems) -> pd.DataFrame:
    """Macro and weighted F1 with their intervals and standard deviations over seeds."""
    rows = [
        {
            "trained": trained(of),
            "seeds": len(of.seeds),
            "validation macro F1": of.validation_macro_f1,
            "test macro F1": of.macro_f1.value,
            "interval": _range(of.macro_f1),
            "± over seeds": of.macro_f1.sd_over_seeds,
            "test weighted F1": of.weighted_f1.value,
            "its interval": _range(of.weighted_f1),
            "its ± over seeds": of.weighted_f1.sd_over_seeds,
        }
        for of in systems.values()
    ]
    return _indexed(systems, rows)


def differences_table(systems: Systems) -> pd.DataFrame:
    """Each system minus the baseline."""
    compared = {name: of.difference for name, of in systems.items() if of.difference}
    rows = [
        {
            "difference": f"{of.estimate.value:+.3f}",
            "interval": _range(of.estimate, "+.3f"),
            "p": _p(of.estimate.p_value),
            "p (Holm)": _p(of.p_holm),
            "outcome": OUTCOMES[of.outcome],
        }
        for of in compared.values()
    ]
    return _indexed(compared, rows)


def classes_table(systems: Systems) -> pd.DataFrame:
    """F1 of each emotion, and the emotions that are never predicted."""
    rows = [{**of.f1_of_classes, "never predicted": _never_predicted(of)} for of in systems.values()]
    return _indexed(systems, rows)


def _never_predicted(system: System) -> str:
    seeds = len(system.seeds)
    words = [f"{name} ({of} of {seeds} seeds)" if seeds > 1 else name for name, of in system.never_predicted.items()]
    return ", ".join(words) or "–"


def calibration_table(systems: Systems) -> pd.DataFrame:
    """The temperature, and ECE and NLL before and after it."""
    having = {name: of.calibration for name, of in systems.items() if of.calibration}
    rows = [
        {
            "temperature": of.temperature,
            "ECE before": of.before.expected_calibration_error,
            "ECE after": of.after.expected_calibration_error,
            "NLL before": of.before.negative_log_likelihood,
            "NLL after": of.after.negative_log_likelihood,
        }
        for of in having.values()
    ]
    return _indexed(having, rows)


def gap_table(systems: Systems) -> pd.DataFrame:
    """Macro F1 on training and validation, and the gap between them, at the best and at the last epoch."""
    having = {name: of.curves for name, of in systems.items() if of.curves}
    rows = []
    for curves in having.values():
        best, last = max(curves, key=lambda point: point.validation), curves[-1]
        row: dict[str, str | float | None] = {"best epoch": f"{best.epoch:g} of {last.epoch:g}"}
        for when, point in (("best", best), ("last", last)):
            row[f"training at {when}"] = point.train
            row[f"validation at {when}"] = point.validation
            row[f"gap at {when}"] = point.gap
        rows.append(row)
    return _indexed(having, rows)


def ablation_table(systems: Systems) -> pd.DataFrame:
    """The loss of macro F1 and of each emotion's F1 without a modality."""
    rows = [
        {
            "system": name,
            "modality": row.modality,
            "change": row.change,
            "macro F1": row.macro_f1_drop,
            **{emotion: row.f1_drops[emotion] for emotion in EMOTIONS},
        }
        for name, of in systems.items()
        for row in of.modality_ablation
    ]
    return pd.DataFrame(rows)


def cost_table(systems: Systems) -> pd.DataFrame:
    """Trainable parameters, time and peak memory of the trainings."""
    having = {name: of.training for name, of in systems.items() if of.training}
    rows = [
        {
            "trainable parameters": of.trainable_parameters,
            "seconds": None if of.seconds is None else round(of.seconds),
            "peak memory, GiB": of.peak_memory_gib,
        }
        for of in having.values()
    ]
    return _indexed(having, rows)


def published_table(figures: Sequence[PublishedFigure]) -> pd.DataFrame:
    """Each published figure with its split and source."""
    rows = [
        {
            "system": of.name,
            "split": of.split,
            "macro F1": of.macro_f1,
            "weighted F1": of.weighted_f1,
            "source": of.source,
        }
        for of in figures
    ]
    return pd.DataFrame(rows)


def runs_table(systems: Systems) -> pd.DataFrame:
    """The MLflow run of each seed."""
    rows = [
        {"system": name, "seed": str(seed), "run": run}
        for name, of in systems.items()
        if of.training
        for seed, run in zip(of.seeds, of.training.run_ids, strict=True)
    ]
    return pd.DataFrame(rows)


def _indexed(systems: Mapping[str, object], rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=pd.Index(list(systems), name="system"))


def _with_interval(of: Score | Estimate, form: str = ".3f") -> str:
    return f"{of.value:{form}} [{_range(of, form)}]"


def _range(of: Score | Estimate, form: str = ".3f") -> str:
    return f"{of.low:{form}}\u00a0to\u00a0{of.high:{form}}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def comparison_page(comparison: Comparison, figures: "Mapping[str, Figure]") -> str:
    """The HTML page; figures may be left out."""
    systems, settings = comparison.systems, comparison.settings
    sections = [
        Section(
            "Macro and weighted F1",
            _SCORES.format(percent=percent(settings.confidence), resamples=settings.resamples),
            scores_table(systems),
            figures.get("scores"),
        ),
        Section(
            f"Differences to {settings.baseline}",
            _DIFFERENCES.format(level=1 - settings.confidence),
            differences_table(systems),
            figures.get("differences"),
        ),
        Section("F1 of each emotion", _CLASSES, classes_table(systems), figures.get("classes")),
        Section("Confusion matrices", _CONFUSION, None, figures.get("confusion"), folded=True),
        Section("Calibration", _CALIBRATION, calibration_table(systems), figures.get("calibration")),
        Section("Training compared with validation", _GAP, gap_table(systems), figures.get("gap")),
    ]
    if any(of.modality_ablation for of in systems.values()):
        sections.append(Section("Modality ablation", _ABLATION, ablation_table(systems)))
    sections += [
        Section("Cost of training", _COST, cost_table(systems)),
        Section("Published figures", _PUBLISHED, published_table(comparison.published)),
        Section("The runs in MLflow", "The id of the MLflow run of each seed.", runs_table(systems), folded=True),
    ]
    return render("Comparison of experiments", _lead(comparison), sections)


def _lead(comparison: Comparison) -> str:
    baseline = comparison.settings.baseline
    lines = [
        f"{len(comparison.systems)} systems on the same {comparison.test_utterances:,} test utterances in "
        f"{comparison.test_conversations:,} conversations, scored from stored predictions."
    ]
    differences = {name: of.difference for name, of in comparison.systems.items() if of.difference}
    for outcome, words in (
        ("better", f"Better than {baseline}"),
        ("worse", f"Worse than {baseline}"),
        ("not_significant", f"No significant difference to {baseline}"),
    ):
        names = [name for name, of in differences.items() if of.outcome == outcome]
        lines.append(f"{words}: {', '.join(names) or 'none'}.")
    return "\n".join(lines)


_SCORES = (
    "Scores are means over an experiment's seeds; “± over seeds” is their standard deviation. The {percent} intervals "
    "cover other conversations and other seeds: "
    "they are computed from {resamples:,} resamples of whole conversations (errors within a conversation are "
    "correlated) and from the scatter between seeds. The interval of an experiment with one seed is valid for that one "
    "training only; for the experiment it is too narrow."
    "\n\nAn interval need not be centred on its score: macro F1 is biased downwards on few conversations, where rare "
    "emotions are missing, and the intervals correct this bias. The references need no neural network: “all neutral”, "
    "“majority” (the most frequent emotion of the training split) and “TF-IDF” (logistic regression on words and "
    "characters). The last two are fitted on the training split of this corpus."
)
_DIFFERENCES = (
    "Differences of test macro F1 to the baseline, both systems scored on the same resamples. P-values are corrected "
    "for the number of comparisons by Holm's method; below {level:.2g}, a system counts as better or worse. The "
    "intervals are not corrected, so an interval may exclude zero although the difference is not significant. “No "
    "significant difference” does not mean that two systems are equal. Choose the baseline before looking at the "
    "results: the correction covers the comparisons of this page only."
)
_CLASSES = (
    "F1 on the test split, mean over seeds. Macro F1 is the mean of a row, so the pale columns leave the most room for "
    "improvement."
)
_CONFUSION = "Rows are the true emotions, columns the predicted ones. Counts are summed over seeds."
_CALIBRATION = (
    f"ECE (expected calibration error): the mean distance between confidence (the highest probability) and accuracy, "
    f"over {BINS} bins of equal width. NLL: negative log-likelihood in nats. The temperature minimises NLL on the "
    "validation split; it does not change the predicted emotions. The table has means over seeds. The curves are of "
    "all seeds together; the area of a dot is the number of utterances in its bin."
)
_GAP = (
    "Macro F1 on the training and validation splits, means over seeds. A large gap between them is over-fitting. "
    "“Best” is the epoch with the highest mean on validation; each run is tested with the "
    "weights of its own best epoch."
)
_ABLATION = (
    "The loss of F1 on the test split if a modality is blanked (zero for all utterances) or shuffled (replaced by that "
    "of another utterance). Means over seeds; a negative loss means that the model is better without the modality."
)
_COST = "Means over seeds. Time and peak memory are those of the training only."
_PUBLISHED = (
    "Published for ECF 2.0, scenes of Friends. They cannot be compared with results on another corpus, and hardly with "
    "results on another split of ECF. The split of the published exp1, exp2 and exp6 is not known. The official test "
    "file has 3,101 utterances in 341 conversations."
)
