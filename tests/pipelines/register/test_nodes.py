"""A run's model gets a name and an alias in a real store."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from trimood.model.stored import read_weights
from trimood.pipelines.register.nodes import NotRegistered, register
from trimood.serving.mlflow_model import log_model
from trimood.serving.trained_model import ModelError, load_trained
from trimood.tracking.store import use_store


@pytest.fixture
def store(empty_store: Path, tmp_path: Path) -> Iterator[str]:
    """The id of an MLflow experiment in an empty store."""
    shutil.copy(empty_store, tmp_path)
    use_store(f"sqlite:///{tmp_path}/mlflow.db")
    yield mlflow.create_experiment("registration", (tmp_path / "mlruns").as_uri())
    mlflow.set_tracking_uri(None)


def finished(store: str, folder: Path | None, **tags: str) -> str:
    with mlflow.start_run(experiment_id=store) as run:
        if folder:
            mlflow.log_artifact(str(folder / "calibration.json"))
            log_model(folder / "best.safetensors", folder / "calibration.json", run.info.run_id)
            tags = {"identity": read_weights(folder / "best.safetensors").about.identity.digest} | tags
        mlflow.set_tags(tags)
    return run.info.run_id


def runs(store: str) -> pd.DataFrame:
    return mlflow.search_runs([store])


@pytest.mark.slow
def test_the_latest_whole_run_of_an_experiment_is_registered_once(store: str, trained_folder: Path) -> None:
    first = finished(store, trained_folder / "exp3", experiment="exp3")
    finished(store, trained_folder / "exp6_head", experiment="exp6_head")
    done = register(runs(store), "exp3", "champion")
    assert done == {
        "uri": "models:/trimood-exp3@champion",
        "name": "trimood-exp3",
        "alias": "champion",
        "version": 1,
        "run": first,
    }
    assert load_trained(done["uri"], trained_folder / "nowhere").modalities == ("video", "text")
    assert register(runs(store), "exp3", "champion")["version"] == 1
    second = finished(store, trained_folder / "exp3", experiment="exp3")
    finished(store, trained_folder / "exp3", experiment="exp3", partial="true")
    assert register(runs(store), "exp3", "champion") | {"uri": ""} == {
        **done,
        "uri": "",
        "version": 2,
        "run": second,
    }
    assert register(runs(store), first, "before")["version"] == 1


def test_what_cannot_be_registered_says_why(store: str) -> None:
    with pytest.raises(
        NotRegistered, match=r"model=exp3: none of the 0 runs in MLflow is a complete finished run of it"
    ):
        register(runs(store), "exp3", "champion")
    run = finished(store, None, experiment="exp3")
    with pytest.raises(ModelError, match=rf"model={run}: this run logged no model"):
        register(runs(store), "exp3", "champion")


@pytest.mark.slow
def test_a_model_of_another_identity_than_its_scores_is_refused(store: str, trained_folder: Path) -> None:
    """As if the run was evaluated on other examples than those that belong to the training."""
    run = finished(store, trained_folder / "exp3", experiment="exp3", identity="0123456789abcdef")
    with pytest.raises(
        NotRegistered, match=rf"run {run} evaluated the identity 0123456789abcdef .*Run the experiment again: kedro run"
    ):
        register(runs(store), "exp3", "champion")
    assert mlflow.MlflowClient().search_registered_models() == []


@pytest.mark.slow
def test_a_registered_model_goes_along_with_a_moved_checkout(
    store: str, trained_folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the page and a served model read it: by run, model and alias."""
    run = finished(store, trained_folder / "exp3", experiment="exp3")
    uri = register(runs(store), "exp3", "champion")["uri"]
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    tmp_path.rename(moved)
    use_store(f"sqlite:///{moved}/mlflow.db")
    for name in (run, uri):
        assert load_trained(name, moved / "none").modalities == ("video", "text")
    assert register(runs(store), "exp3", "champion")["version"] == 1
    assert not tmp_path.exists()
