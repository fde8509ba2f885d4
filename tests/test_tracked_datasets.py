import shutil
from pathlib import Path

import mlflow
import pytest
from kedro.io import DatasetError

from trimood.tracked_datasets import MlflowArtifactsDataset, MlflowRunsDataset


@pytest.fixture(autouse=True)
def tracking_as_before(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    mlflow.set_tracking_uri(None)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder, from whose sub-folder `notebooks` the test runs."""
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    return tmp_path


@pytest.fixture
def store(project: Path, empty_store: Path) -> str:
    """The address of the project's MLflow store, which is there already."""
    shutil.copy(empty_store, project / "mlflow.db")
    return f"sqlite:///{project / 'mlflow.db'}"


def runs_of(project: Path) -> MlflowRunsDataset:
    return MlflowRunsDataset(tracking_uri="sqlite:///mlflow.db", path=str(project), experiment="trimood")


@pytest.mark.slow
def test_runs_are_read_from_the_store_in_the_projects_root(project: Path, store: str) -> None:
    mlflow.set_tracking_uri(store)
    for experiment, score in (("trimood", 0.3), ("another", 0.9)):
        mlflow.create_experiment(experiment, (project / "mlruns").as_uri())
        mlflow.set_experiment(experiment)
        with mlflow.start_run(run_name="exp4"):
            mlflow.log_param("train", "lora")
            mlflow.log_metric("test/macro_f1", score)
    runs = runs_of(project).load()
    assert runs[["status", "params.train", "metrics.test/macro_f1"]].values.tolist() == [["FINISHED", "lora", 0.3]]


def test_where_nothing_was_tracked_the_table_is_empty_and_no_store_is_made(project: Path) -> None:
    dataset = runs_of(project)
    assert dataset.load().empty
    assert not (project / "mlflow.db").exists()


def test_a_store_without_the_experiment_is_an_empty_table(project: Path, store: str) -> None:
    mlflow.set_tracking_uri(store)
    mlflow.create_experiment("another", (project / "mlruns").as_uri())
    assert runs_of(project).load().empty


def test_the_environment_says_which_store_where_it_speaks(
    project: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, project / "other.db")
    mlflow.set_tracking_uri(f"sqlite:///{project / 'other.db'}")
    mlflow.create_experiment("trimood", (project / "mlruns").as_uri())
    mlflow.set_experiment("trimood")
    with mlflow.start_run():
        mlflow.log_param("where", "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'other.db'}")
    runs = runs_of(project).load()
    assert runs["params.where"].tolist() == ["other"]


def test_runs_cannot_be_written(project: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset is read-only\. Run an experiment: it writes the model, the run"):
        runs_of(project).save("anything")  # type: ignore[arg-type]


@pytest.mark.parametrize("is_local", [True, False])
def test_an_artifact_is_a_file_and_one_that_a_run_has_not_is_none(
    project: Path, store: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_local: bool
) -> None:
    monkeypatch.setattr("mlflow.utils.uri.is_local_uri", lambda uri: is_local)
    mlflow.set_tracking_uri(store)
    mlflow.create_experiment("trimood", (project / "mlruns").as_uri())
    mlflow.set_experiment("trimood")
    with mlflow.start_run() as run:
        mlflow.log_text("there", "history.json")
        mlflow.log_text("deeper", "weights/best.txt")
    mlflow.set_tracking_uri(None)
    fetch = MlflowArtifactsDataset(tracking_uri="sqlite:///mlflow.db", path=str(project)).load()
    found = [fetch(run.info.run_id, name) for name in ("history.json", "weights/best.txt")]
    assert [path.read_text() if path else None for path in found] == ["there", "deeper"]
    assert fetch(run.info.run_id, "modality_ablation.csv") is None
    assert fetch(run.info.run_id, "weights/last.txt") is None
    assert "Downloading" not in capfd.readouterr().err


def test_artifacts_cannot_be_written(project: Path) -> None:
    artifacts = MlflowArtifactsDataset(tracking_uri="sqlite:///mlflow.db", path=str(project))
    with pytest.raises(DatasetError, match=r"dataset is read-only\. Run an experiment: it writes .* its files"):
        artifacts.save("anything")  # type: ignore[arg-type]
