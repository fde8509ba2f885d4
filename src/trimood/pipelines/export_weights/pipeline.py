"""The export stage: a folder of a trained model that can be published."""

from kedro.pipeline import Pipeline

from trimood.config.parameters import ExportFormat
from trimood.pipelines import Stage, as_node

STAGE = Stage(run_separately=True, parameters={"to": str, "format": ExportFormat})


def create_pipeline() -> Pipeline:
    """Exports the weights of a finished run in MLflow, with its scores, so it is run after the experiments."""
    from trimood.pipelines.export_weights.nodes import describe, export

    return Pipeline(
        [
            as_node(
                describe,
                ["exported_model", "mlflow_runs", "mlflow_artifacts", "params:compare", "params:format"],
                "model_card",
            ),
            as_node(export, ["exported_model", "model_card", "params:format"], "exported_weights"),
        ],
        namespace="export_weights",
        prefix_datasets_with_namespace=False,
    )
