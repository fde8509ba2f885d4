"""The registration stage."""

from kedro.pipeline import Node, Pipeline

from trimood.pipelines.register.nodes import register


def create_pipeline() -> Pipeline:
    """Reads MLflow and writes to its registry, so it comes after the experiments, in a run of its own."""
    return Pipeline(
        [Node(register, ["mlflow_runs", "params:model", "params:alias"], "registered_model", name="register")],
        namespace="register",
        prefix_datasets_with_namespace=False,
    )
