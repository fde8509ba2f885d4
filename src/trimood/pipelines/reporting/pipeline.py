"""The reporting stage: what all finished runs say together."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.reporting.nodes import tabulate_results


def create_pipeline() -> Pipeline:
    """Reads MLflow, so it comes after the experiments, in a run of its own."""
    return Pipeline(
        [Node(tabulate_results, ["mlflow_runs", "corpus_description"], "results_table", name="tabulate_results")],
        namespace="reporting",
        prefix_datasets_with_namespace=False,
    )
