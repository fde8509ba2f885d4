"""The comparison stage: a report on all finished runs."""

from kedro.pipeline import Pipeline

from trimood.config.parameters import CompareParams
from trimood.pipelines import Stage, as_node

STAGE = Stage(tracked="reports", run_separately=True, parameters={"compare": CompareParams})


def create_pipeline() -> Pipeline:
    """Compares finished runs in MLflow, so it is run after the experiments. Trains only the reference systems."""
    from trimood.pipelines.compare.nodes import (
        compare_runs,
        predict_references,
        write_answers,
        write_remarks,
        write_report,
    )
    from trimood.tracking.runs import choose_runs, gather_curves, gather_modality_ablation, gather_predictions

    return Pipeline(
        [
            as_node(choose_runs, ["mlflow_runs", "corpus_description", "params:compare"], "compared_runs"),
            as_node(gather_predictions, ["compared_runs", "mlflow_artifacts"], "compared_predictions"),
            as_node(gather_curves, ["compared_runs", "mlflow_artifacts"], "compared_curves"),
            as_node(gather_modality_ablation, ["compared_runs", "mlflow_artifacts"], "compared_modality_ablation"),
            as_node(
                predict_references,
                ["compared_runs", "compared_predictions", "training_examples"],
                "reference_predictions",
            ),
            as_node(
                compare_runs,
                [
                    "compared_runs",
                    "compared_predictions",
                    "reference_predictions",
                    "compared_curves",
                    "compared_modality_ablation",
                    "corpus_description",
                    "params:compare",
                ],
                ["comparison", "comparison_scores"],
            ),
            as_node(
                write_report,
                [
                    "comparison",
                    "compared_predictions",
                    "reference_predictions",
                    "test_examples",
                    "prepared_clips",
                ],
                ["comparison_page", "comparison_table", "comparison_pictures", "comparison_drawings"],
            ),
            as_node(write_remarks, "comparison", "comparison_remarks"),
            as_node(write_answers, "comparison", "comparison_answers"),
        ],
        namespace="compare",
        prefix_datasets_with_namespace=False,
    )
