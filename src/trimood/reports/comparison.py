"""The comparison for people: its tables, the Markdown table, and the HTML page."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from trimood.emotions import EMOTIONS
from trimood.reports.html import Section, render
from trimood.scoring.calibration import BINS

Systems = dict[str, dict[str, Any]]


def percent(settings: dict[str, Any]) -> str:
    """The confidence as people write it."""
    return f"{100 * settings['confidence']:g} %"


def markdown(comparison: dict[str, Any]) -> str:
    """A row for each experiment, each reference, and each published_table figure with its split."""
    baseline, level = comparison["settings"]["baseline"], percent(comparison["settings"])
    lines = [
        [
            *("", "trained", "seeds", "validation macro F1", f"test macro F1 [{level}]", "± over seeds"),
            *(f"test weighted F1 [{level}]", f"difference to {baseline} [{level}]", "p (Holm)", f"against {baseline}"),
        ],
        ["---"] * 2 + ["--:"] * 7 + ["---"],
    ]
    for name, of in comparison["systems"].items():
        against = of["difference"]
        lines.append(
            [
                name,
                trained(of),
                str(len(of["seeds"])) if of["kind"] == "experiment" else "–",
                f"{of['validation_macro_f1']:.3f}",
                _with_interval(of["macro_f1"]),
                _number(of["macro_f1"]["sd_over_seeds"]),
                _with_interval(of["weighted_f1"]),
                _with_interval(against["estimate"], "+.3f") if against else "–",
                _p(against["p_holm"]) if against else "–",
                against["verdict"] if against else "the baseline",
            ]
        )
    for of in comparison["published"]:
        scores_table = [f"{of['macro_f1']:.3f}", "", _number(of["weighted_f1"])]
        lines.append([of["title"], "published for *Friends*", "", "", *scores_table, "", "", ""])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def trained(system: dict[str, Any]) -> str:
    """In few words: what is listened to and what is trained."""
    if system["kind"] == "reference":
        return "reference"
    whole = {"everything": "everything", "head": "the head only"}
    return f"{system['modalities']}: {whole.get(system['train'], 'LoRA, head ' + system['head'])}"


def scores_table(systems: Systems) -> pd.DataFrame:
    """Macro and weighted F1 with intervals and the scatter between seeds."""
    rows = [
        {
            "trained": trained(of),
            "seeds": len(of["seeds"]),
            "validation macro F1": of["validation_macro_f1"],
            "test macro F1": of["macro_f1"]["value"],
            "interval": _range(of["macro_f1"]),
            "± over seeds": of["macro_f1"]["sd_over_seeds"],
            "test weighted F1": of["weighted_f1"]["value"],
            "its interval": _range(of["weighted_f1"]),
            "its ± over seeds": of["weighted_f1"]["sd_over_seeds"],
        }
        for of in systems.values()
    ]
    return _of(systems, rows)


def differences_table(systems: Systems) -> pd.DataFrame:
    """Each system minus the baseline."""
    compared = {name: of["difference"] for name, of in systems.items() if of["difference"]}
    rows = [
        {
            "difference": f"{of['estimate']['value']:+.3f}",
            "interval": _range(of["estimate"], "+.3f"),
            "p": _p(of["estimate"]["p_value"]),
            "p (Holm)": _p(of["p_holm"]),
            "in words": of["verdict"],
        }
        for of in compared.values()
    ]
    return _of(compared, rows)


def classes_table(systems: Systems) -> pd.DataFrame:
    """F1 of each emotion, and those that are never the answer."""
    rows = [{**of["f1_of_classes"], "never predicted": _never(of)} for of in systems.values()]
    return _of(systems, rows)


def _never(system: dict[str, Any]) -> str:
    seeds = len(system["seeds"])
    words = [f"{name} ({of} of {seeds} seeds)" if seeds > 1 else name for name, of in system["never_predicted"].items()]
    return ", ".join(words) or "–"


def calibration_table(systems: Systems) -> pd.DataFrame:
    """ECE and NLL before and after the temperature."""
    having = {name: of["calibration"] for name, of in systems.items() if of["calibration"]}
    rows = [
        {
            "temperature": of["temperature"],
            **{f"{name.upper()} {when}": of[when][name] for name in ("ece", "nll") for when in ("before", "after")},
        }
        for of in having.values()
    ]
    return _of(having, rows)


def gap_table(systems: Systems) -> pd.DataFrame:
    """Training, validation and their distance at the best and at the last epoch."""
    having = {name: of["curves"] for name, of in systems.items() if of["curves"]}
    rows = []
    for curves in having.values():
        best, last = max(curves, key=lambda row: row["validation"]), curves[-1]
        row: dict[str, Any] = {"best epoch": f"{best['epoch']:g} of {last['epoch']:g}"}
        for when, of in (("best", best), ("last", last)):
            row |= {f"{words} at {when}": of[part] for part, words in _CURVES.items()}
        rows.append(row)
    return _of(having, rows)


_CURVES = {"train": "training", "validation": "validation", "gap": "gap"}


def ablation_table(systems: Systems) -> pd.DataFrame:
    """What macro F1 and each emotion's F1 lose without a modality."""
    rows = [
        {
            "system": name,
            "modality": row["modality"],
            "change": row["change"],
            "macro F1": row["macro_f1_drop"],
            **{emotion: row[f"drop_{emotion}"] for emotion in EMOTIONS},
        }
        for name, of in systems.items()
        for row in of["modality_ablation"]
    ]
    return pd.DataFrame(rows)


def cost_table(systems: Systems) -> pd.DataFrame:
    """Trainable parameters, time and memory of the trainings."""
    having = {name: of for name, of in systems.items() if of["kind"] == "experiment"}
    rows = [
        {
            "trainable parameters": of["trainable_parameters"],
            "seconds": None if of["seconds"] is None else round(of["seconds"]),
            "peak memory, GiB": of["peak_memory_gib"],
        }
        for of in having.values()
    ]
    return _of(having, rows)


def published_table(figures: list[dict[str, Any]]) -> pd.DataFrame:
    """Each with its split and source."""
    names = {"name": "system", "split": "split", "macro_f1": "macro F1", "weighted_f1": "weighted F1"}
    return pd.DataFrame(figures)[[*names, "source"]].rename(columns=names)


def runs_table(systems: Systems) -> pd.DataFrame:
    """The MLflow run of each seed."""
    having = {name: of for name, of in systems.items() if of["runs"]}
    rows = [
        {"system": name, "seed": str(seed), "run": run}
        for name, of in having.items()
        for seed, run in zip(of["seeds"], of["runs"], strict=True)
    ]
    return pd.DataFrame(rows)


def _of(systems: dict[str, Any], rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, index=pd.Index(list(systems), name="system"))


def _with_interval(of: dict[str, Any], form: str = ".3f") -> str:
    return f"{of['value']:{form}} [{_range(of, form)}]"


def _range(of: dict[str, Any], form: str = ".3f") -> str:
    return f"{of['low']:{form}}\u00a0to\u00a0{of['high']:{form}}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


if TYPE_CHECKING:
    from matplotlib.figure import Figure


def comparison_page(comparison: dict[str, Any], figures: "dict[str, Figure]") -> str:
    """The whole report, with those of the figures that there are."""
    systems, settings = comparison["systems"], comparison["settings"]
    about_scores = _SCORES.format(percent=percent(settings), resamples=settings["resamples"])
    about_differences = _DIFFERENCES.format(level=1 - settings["confidence"])
    sections = [
        Section("Macro and weighted F1", about_scores, scores_table(systems), figures.get("scores")),
        Section(
            f"Differences to {settings['baseline']}",
            about_differences,
            differences_table(systems),
            figures.get("differences"),
        ),
        Section("Each emotion", _CLASSES, classes_table(systems), figures.get("classes")),
        Section("Confusion matrices", _CONFUSION, None, figures.get("confusion"), folded=True),
        Section("Calibration", _CALIBRATION, calibration_table(systems), figures.get("calibration")),
        Section("Training beside validation", _GAP, gap_table(systems), figures.get("gap")),
    ]
    if any(of["modality_ablation"] for of in systems.values()):
        sections.append(Section("Modality ablation", _WORTH, ablation_table(systems)))
    sections += [
        Section("What it costs", _COST, cost_table(systems)),
        Section("Published figures", _PUBLISHED, published_table(comparison["published"])),
        Section("The runs", "By their ids in MLflow.", runs_table(systems), folded=True),
    ]
    return render("Experiments side by side", _lead(comparison), sections)


def _lead(comparison: dict[str, Any]) -> str:
    baseline = comparison["settings"]["baseline"]
    lines = [
        f"{len(comparison['systems'])} systems on the same {comparison['test_utterances']:,} test utterances in "
        f"{comparison['test_conversations']:,} conversations, all from stored predictions."
    ]
    for verdict, words in (
        ("better", f"Better than {baseline}"),
        ("worse", f"Worse than {baseline}"),
        ("cannot be told apart", f"Cannot be told apart from {baseline}"),
    ):
        against = {name: of["difference"] for name, of in comparison["systems"].items() if of["difference"]}
        names = [name for name, of in against.items() if of["verdict"] == verdict]
        lines.append(f"{words}: {', '.join(names) or 'none'}.")
    return "\n".join(lines)


_SCORES = (
    "Scores are means over an experiment's seeds. The {percent} intervals say where the score would be with other "
    "conversations and other seeds: {resamples:,} draws of whole conversations (as utterances of one conversation err "
    "together), and the scatter between seeds. An experiment of one seed has an interval for that one training only, "
    "which is too narrow for the experiment."
    "\n\nIntervals need not be even about the score: macro F1 is too low on few conversations, where rare emotions are "
    "missing, and the draws tell by how much. All neutral, majority (the commonest emotion of the training split) and "
    "TF-IDF (words and characters, balanced logistic regression) need no model, and are fitted on this corpus' own "
    "training split."
)
_DIFFERENCES = (
    "Of macro F1, both systems on the same draws. The p-values are corrected for the number of comparisons by Holm's "
    "method; below {level:.2g} a system is called better or worse. The intervals are not corrected, so one may leave "
    "zero out where the verdict is that the two cannot be told apart. That verdict does not mean that they are equal. "
    "Choose the baseline before you look: the correction knows of no other comparisons than these."
)
_CLASSES = (
    "F1 on the test split, mean over seeds. Macro F1 is the mean of a row: the pale columns are where it can be won."
)
_CONFUSION = "Rows are true, columns predicted; all seeds' answers together."
_CALIBRATION = (
    f"ECE: distance of confidence (the highest probability) from accuracy, over {BINS} bins of equal width. NLL: "
    "negative log-likelihood in nats. The temperature is the one of lowest NLL on validation; it changes no answer. "
    "Means over seeds; the curves are of all seeds together, a dot is as large as its bin has utterances."
)
_GAP = (
    "Macro F1 on the training split, on validation, and the gap between them: what a model knows by heart. Means over "
    "seeds; the best epoch here is the one with the highest mean on validation. What is tested are the weights of each "
    "run's own best epoch."
)
_WORTH = (
    "What F1 on the test split loses where a modality is blanked (zero for all utterances) or shuffled (each utterance "
    "gets another one's). Means over seeds; below zero the model does better without."
)
_COST = "Means over seeds. Time and peak memory are those of the training."
_PUBLISHED = (
    "Of ECF 2.0, scenes of Friends. They say nothing of another corpus, and little of ECF on another split. On which "
    "split exp1, exp2 and exp6 were measured is not known. The official test file has 3,101 utterances in 341 "
    "conversations."
)
