"""A real training goes on while its store is out of reach: a server that is killed, a file that is locked."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from support.demo_project import DemoProject, copy_project
from support.served_page import free_port
from support.tracked_project import STORE

pytestmark = [pytest.mark.slow, pytest.mark.faults]

EPOCHS = 5
COMMAND = ("run", "--pipelines=exp3", f"--params=training.num_train_epochs={EPOCHS}")


@pytest.fixture
def project(demo_project: DemoProject, tmp_path: Path) -> DemoProject:
    """The demo with its data made and its clips prepared, and no run yet."""
    own = copy_project(tmp_path / "trimood")
    shutil.copytree(demo_project.path / "data" / "demo", own.path / "data" / "demo", dirs_exist_ok=True)
    for trained in ("06_models", "07_model_output", "08_reporting"):
        shutil.rmtree(own.path / "data" / "demo" / trained)
    return own


@contextmanager
def serving(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """MLflow's server on the store in `folder`, which stores artifacts too."""
    folder.mkdir(exist_ok=True)
    stores = [f"--backend-store-uri={STORE.format(folder)}", f"--artifacts-destination={folder / 'artifacts'}"]
    command = [sys.executable, "-m", "mlflow", "server", "--workers=1", f"--port={port}", *stores]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "log").open("ab") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            try:
                urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield server
    finally:
        kill(server)


def kill(server: subprocess.Popen[bytes]) -> None:
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def started(project: DemoProject, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kedro", *COMMAND],
        cwd=project.path,
        env={**project.environment, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What the command says until a line with these words, or to its end."""
    said = ""
    assert process.stdout
    for line in process.stdout:
        said += line
        if words in line:
            break
    return said


def check_run(client: MlflowClient) -> Run:
    """Checks that the only run of exp3 is whole, each number of it once."""
    (experiment,) = [found for found in client.search_experiments() if found.name == "trimood"]
    (run,) = client.search_runs([experiment.experiment_id], "tags.experiment = 'exp3'")
    assert run.info.status == "FINISHED"
    assert "partial" not in run.data.tags
    curve = client.get_metric_history(run.info.run_id, "training curves/validation_macro_f1")
    assert [point.step for point in curve] == list(range(1, EPOCHS + 1))
    assert "test/macro_f1" in run.data.metrics
    assert len(run.outputs.model_outputs) == 1
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"history.json", "scores.json", "predictions.parquet", "weights", "confusion_matrix.png"} <= files
    return run


def check_words(said: str) -> None:
    assert said.count("is out of reach") == 1, said
    assert "Traceback" not in said


def test_a_server_that_is_killed_gets_everything_from_the_next_command(project: DemoProject, tmp_path: Path) -> None:
    port, store = free_port(), tmp_path / "server"
    uri = f"http://127.0.0.1:{port}"
    with serving(store, port) as server, started(project, MLFLOW_TRACKING_URI=uri) as process:
        said = read_until(process, f"epoch 2 of {EPOCHS}")
        kill(server)
        said += read_until(process, "\0")
    assert process.returncode == 0, said
    check_words(said)
    reporting = project.path / "data" / "demo" / "08_reporting"
    scores = json.loads((reporting / "exp3" / "scores.json").read_text())
    assert "still out of reach" in said
    assert list((reporting / "unsent").glob("*/*.json"))
    with serving(store, port):
        environment = {**project.environment, "MLFLOW_TRACKING_URI": uri}
        said = project.kedro("run", "--pipelines=check_data", environment=environment).stderr
        run = check_run(MlflowClient(uri))
    assert "that an earlier command had kept" in said
    assert run.data.metrics["test/macro_f1"] == scores["test"]["macro_f1"]
    assert list((reporting / "unsent").iterdir()) == []


def test_a_file_that_is_locked_for_a_while_gets_everything_before_the_end(project: DemoProject) -> None:
    with started(project) as process:
        said = read_until(process, f"epoch 1 of {EPOCHS}")
        connection = sqlite3.connect(project.path / "mlflow.db", isolation_level=None, timeout=60)
        connection.execute("BEGIN EXCLUSIVE")
        said += read_until(process, f"epoch 3 of {EPOCHS}")
        connection.close()
        said += read_until(process, "\0")
    assert process.returncode == 0, said
    check_words(said)
    assert "MLflow answers again" in said
    check_run(MlflowClient(STORE.format(project.path)))
    assert list((project.path / "data" / "demo" / "08_reporting" / "unsent").iterdir()) == []
