"""A checkout is moved and copied: its store stays its own, and its artifacts are found where they are now."""

import shutil
import sqlite3
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient

from support.tracked_project import STORE, new_outbox
from trimood.tracked_datasets import MlflowArtifactsDataset
from trimood.tracking.store import FOLDER, use_store


@pytest.fixture(autouse=True)
def _no_store_is_left_in_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield
    mlflow.set_tracking_uri(None)


@pytest.fixture(params=["a", "spaces and ümlauts, 100%"])
def checkout(request: pytest.FixtureRequest, tmp_path: Path, empty_store: Path) -> Path:
    """A folder with a store and one finished run that has a file."""
    folder = tmp_path / "here" / request.param
    folder.mkdir(parents=True)
    shutil.copy(empty_store, folder)
    log_run(folder, "first")
    return folder


def log_run(folder: Path, content: str) -> str:
    outbox = new_outbox(folder)
    run = outbox.open("exp4", {"experiment": "exp4"})
    (folder / "scores.json").write_text(content)
    run.log_file(folder / "scores.json")
    run.close("FINISHED")
    assert outbox.end() == 0
    assert run.id
    return run.id


def contents(folder: Path) -> dict[str, str]:
    """What `compare` reads: each run's file, through the dataset of the catalog."""
    fetch = MlflowArtifactsDataset(tracking_uri="sqlite:///mlflow.db", path=str(folder)).load()
    client = MlflowClient(STORE.format(folder))
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    paths = {run.info.run_id: fetch(run.info.run_id, "scores.json") for run in client.search_runs(experiments)}
    return {run: path.read_text() if path else "" for run, path in paths.items()}


def without_tag(folder: Path) -> None:
    """Makes the store one of an earlier version, which did not say where it was."""
    with sqlite3.connect(folder / "mlflow.db") as connection:
        connection.execute("DELETE FROM experiment_tags WHERE key = ?", (FOLDER,))


@pytest.mark.slow
@pytest.mark.parametrize("is_earlier", [False, True], ids=["tagged", "of an earlier version"])
def test_a_copy_reads_and_writes_its_own_artifacts(checkout: Path, is_earlier: bool) -> None:
    if is_earlier:
        without_tag(checkout)
    (first,) = contents(checkout)
    copy = checkout.with_name("b")
    shutil.copytree(checkout, copy)
    for path in (checkout / "mlruns").rglob("scores.json"):
        path.write_text("changed in the original")
    assert contents(copy) == {first: "first"}
    second = log_run(copy, "second")
    assert contents(copy) == {first: "first", second: "second"}
    assert contents(checkout) == {first: "changed in the original"}
    assert not list((checkout / "mlruns").rglob(f"*{second}*"))


@pytest.mark.slow
@pytest.mark.parametrize("is_earlier", [False, True], ids=["tagged", "of an earlier version"])
def test_a_moved_checkout_finds_its_artifacts_wherever_it_goes(checkout: Path, is_earlier: bool) -> None:
    if is_earlier:
        without_tag(checkout)
    expected = ["first"]
    for name in ("b", "here"):  # the second folder is a part of the first path
        moved = checkout.parents[1] / name / "moved"
        moved.parent.mkdir(exist_ok=True)
        shutil.move(checkout, moved)
        checkout = moved
        assert sorted(contents(moved).values()) == expected
        log_run(moved, f"in {name}")
        expected.append(f"in {name}")
        assert sorted(contents(moved).values()) == expected


def test_a_store_that_was_moved_without_its_artifacts_leaves_them_where_they_are(checkout: Path) -> None:
    backup = checkout.with_name("backup")
    backup.mkdir()
    shutil.copy(checkout / "mlflow.db", backup)
    assert list(contents(backup).values()) == ["first"]


def test_what_is_no_store_is_left_to_its_reader(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database")
    use_store(STORE.format(tmp_path))
    assert (tmp_path / "mlflow.db").read_text() == "no database"
