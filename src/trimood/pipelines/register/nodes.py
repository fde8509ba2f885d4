"""Nodes of the registration stage."""

import logging

import pandas as pd

from trimood.tracking.runs import latest_whole_run

log = logging.getLogger(__name__)

PREFIX = "trimood-"
"""Registered models are named after their experiment, as in trimood-exp4; the versions are the experiment's runs."""


class NotRegistered(Exception):
    """There is no run whose model could be registered."""


def register(mlflow_runs: pd.DataFrame, model: str, alias: str) -> dict[str, str | int]:
    """Registers the model of an experiment's latest complete run, or of the run with that id, and sets the alias.

    A run that is already registered gets no second version. Raises NotRegistered if there is no such run, and
    ModelError if the run has no model.
    """
    import mlflow

    from trimood.serving.trained_model import model_of_run

    run = latest_whole_run(mlflow_runs, model)
    if run is None:
        raise NotRegistered(
            f"model={model}: none of the {len(mlflow_runs)} runs in MLflow is a complete finished run of it. Run the "
            f"experiment first (kedro run --pipelines={model}), or give a run's id."
        )
    name = PREFIX + run["tags.experiment"]
    client = mlflow.MlflowClient()
    known = [v for v in client.search_model_versions(f"name='{name}'") if v.run_id == run["run_id"]]
    version = known[0] if known else mlflow.register_model(model_of_run(run["run_id"]), name)
    client.set_registered_model_alias(name, alias, version.version)
    uri = f"models:/{name}@{alias}"
    log.info("%s is version %s, run %s", uri, version.version, run["run_id"])
    return {"uri": uri, "name": name, "alias": alias, "version": int(version.version), "run": run["run_id"]}
