"""The registration stage."""

from kedro.pipeline import Pipeline

from trimood.config.parameters import Alias
from trimood.pipelines import Stage, as_node

STAGE = Stage(run_separately=True, parameters={"alias": Alias})


def create_pipeline() -> Pipeline:
    """Registers a finished run in MLflow, so it is run after the experiments, in a separate command."""
    from trimood.pipelines.register.nodes import register

    return Pipeline(
        [as_node(register, ["mlflow_runs", "params:model", "params:alias"], "registered_model")],
        namespace="register",
        prefix_datasets_with_namespace=False,
    )
