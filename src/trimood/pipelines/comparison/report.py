"""The comparison as one HTML page: what each part says, in words beside its table and picture."""

from typing import TYPE_CHECKING, Any

from trimood.pages import Section, render
from trimood.pipelines.comparison import tables
from trimood.scoring.calibration import BINS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def page(comparison: dict[str, Any], figures: "dict[str, Figure]") -> str:
    """The whole report, with those of the figures that there are."""
    systems, settings = comparison["systems"], comparison["settings"]
    about_scores = _SCORES.format(percent=tables.percent(settings), resamples=settings["resamples"])
    about_differences = _DIFFERENCES.format(level=1 - settings["confidence"])
    sections = [
        Section("Macro and weighted F1", about_scores, tables.scores(systems), figures.get("scores")),
        Section(
            f"Differences to {settings['baseline']}",
            about_differences,
            tables.differences(systems),
            figures.get("differences"),
        ),
        Section("Each emotion", _CLASSES, tables.classes(systems), figures.get("classes")),
        Section("Confusion matrices", _CONFUSION, None, figures.get("confusion"), folded=True),
        Section("Calibration", _CALIBRATION, tables.calibration(systems), figures.get("calibration")),
        Section("Training beside validation", _GAP, tables.gap(systems), figures.get("gap")),
    ]
    if any(of["modality_worth"] for of in systems.values()):
        sections.append(Section("What each modality is worth", _WORTH, tables.modality_worth(systems)))
    sections += [
        Section("What it costs", _COST, tables.cost(systems)),
        Section("Published figures", _PUBLISHED, tables.published(comparison["published"])),
        Section("The runs", "By their ids in MLflow.", tables.runs(systems), folded=True),
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
