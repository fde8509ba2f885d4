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

    A run that is already registered gets no second version. Raises NotRegistered if there is no such run or its model
    has another identity than its scores, and ModelError if the run has no model.
    """
    import mlflow

    from trimood.serving.trained_model import model_of_run, of_mlflow

    run = latest_whole_run(mlflow_runs, model)
    if run is None:
        raise NotRegistered(
            f"model={model}: none of the {len(mlflow_runs)} runs in MLflow is a complete finished run of it. Run the "
            f"experiment first (kedro run --pipelines={model}), or give a run's id."
        )
    uri = model_of_run(run["run_id"])
    trained, logged = of_mlflow(uri).weights.about.identity.digest, run.get("tags.identity")
    if trained != logged:
        raise NotRegistered(
            f"model={model}: run {run['run_id']} evaluated the identity {logged} (plan, examples and code), but its "
            f"model was trained as {trained}, so its scores are not those of this model. Run the experiment again: "
            f"kedro run --pipelines={run['tags.experiment']}"
        )
    name = PREFIX + run["tags.experiment"]
    client = mlflow.MlflowClient()
    known = [v for v in client.search_model_versions(f"name='{name}'") if v.run_id == run["run_id"]]
    version = known[0] if known else mlflow.register_model(uri, name)
    client.set_registered_model_alias(name, alias, version.version)
    registered = f"models:/{name}@{alias}"
    log.info("%s is version %s, run %s", registered, version.version, run["run_id"])
    return {"uri": registered, "name": name, "alias": alias, "version": int(version.version), "run": run["run_id"]}
