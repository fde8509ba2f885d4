"""Nodes of the comparison stage."""

import logging
from collections.abc import Mapping

import pandas as pd

from trimood.config.parameters import CompareParams
from trimood.corpus.tables import CorpusDescription
from trimood.emotions import WITHOUT
from trimood.media.parts import Location
from trimood.scoring.agreement import different_settings
from trimood.scoring.comparison import Comparison
from trimood.tracking.runs import check_training_examples

log = logging.getLogger(__name__)


def predict_references(
    compared_runs: pd.DataFrame, compared_predictions: pd.DataFrame, training_examples: pd.DataFrame
) -> pd.DataFrame:
    """Predicts the same utterances as the runs with the reference systems of `scoring.baselines`.

    Raises CannotCompare if the runs were trained on other examples.
    """
    from trimood.scoring import baselines

    check_training_examples(compared_runs, compared_predictions, training_examples)
    first = compared_predictions.iloc[0]
    same = (compared_predictions["system"] == first["system"]) & (compared_predictions["seed"] == first["seed"])
    # What the first experiment's modalities change says nothing of a reference.
    utterances = compared_predictions[same].drop(columns=list(WITHOUT.values()), errors="ignore")
    return baselines.predict_references(utterances, training_examples)


def compare_runs(
    compared_runs: pd.DataFrame,
    compared_predictions: pd.DataFrame,
    reference_predictions: pd.DataFrame,
    compared_curves: pd.DataFrame,
    compared_modality_ablation: pd.DataFrame,
    corpus_description: CorpusDescription,
    compare: CompareParams,
) -> tuple[Comparison, dict[str, dict[str, dict[str, float]]]]:
    """Returns the comparison, and the numbers that MLflow shows as metrics."""
    from trimood.reports.comparison import in_a_line
    from trimood.scoring.comparison import build_comparison, headline_scores

    predictions = pd.concat([compared_predictions, reference_predictions], ignore_index=True)
    corpus = corpus_description.get("corpus", "ecf")
    comparison = build_comparison(
        compared_runs, predictions, compared_curves, compared_modality_ablation, compare, corpus
    )
    logged = different_settings(compared_runs)  # by choose_runs
    for remark in comparison.remarks:
        if remark not in logged:
            log.warning("%s", remark)
    for name, system in comparison.systems.items():
        log.info("%s", in_a_line(name, system, compare.baseline))
    return comparison, headline_scores(comparison)


def write_report(
    comparison: Comparison,
    compared_predictions: pd.DataFrame,
    reference_predictions: pd.DataFrame,
    test_examples: pd.DataFrame,
    prepared_clips: Location,
) -> tuple[str, str, Mapping[str, object], Mapping[str, object]]:
    """Returns the HTML page, the Markdown table, and the figures by file name, for PNG and for SVG."""
    from trimood.reports.comparison import comparison_page, markdown
    from trimood.reports.comparison_figures import figures
    from trimood.reports.mistakes import find_mistakes
    from trimood.scoring.groups import group_utterances, score_groups

    drawn = figures(comparison)
    compared = comparison.only_compared(compared_predictions)
    scored = pd.concat([compared, reference_predictions], ignore_index=True)
    scored = scored[scored["split"] == "test"]
    utterances = scored.drop_duplicates("utterance")
    page = comparison_page(
        comparison,
        drawn,
        find_mistakes(compared, test_examples, prepared_clips),
        score_groups(scored, group_utterances(utterances, test_examples)),
    )
    return (
        page,
        markdown(comparison),
        {f"{name}.png": figure for name, figure in drawn.items()},
        {f"{name}.svg": figure for name, figure in drawn.items()},
    )


def write_answers(comparison: Comparison) -> str:
    """Returns the five answers in short, as Markdown: the beginning of MLflow's description of all trainings."""
    from trimood.reports.answers import answers, in_short

    return in_short(answers(comparison))


def write_remarks(comparison: Comparison) -> str:
    """Returns the five answers and in what the systems differ, as Markdown: MLflow's description of the run."""
    from trimood.reports.comparison import remarks

    return remarks(comparison)
