"""A trained experiment put to use as a person would: by command, in a process of its own, and over HTTP."""

import base64
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

from support.bad_requests import pictures, quiet_sound, request
from support.demo_project import DemoProject
from support.shared_data import SHARED, needs_shared
from trimood.emotions import EMOTIONS

pytestmark = pytest.mark.slow

COLUMNS = [f"p_{emotion}" for emotion in EMOTIONS]
URI = "models:/trimood-exp3@champion"


@pytest.fixture(scope="module")
def registered(own_demo_project: DemoProject) -> DemoProject:
    own_demo_project.kedro("run", "--pipelines=register", "--params", "model=exp3,alias=champion")
    return own_demo_project


@pytest.fixture(scope="module")
def evaluated(own_demo_project: DemoProject) -> pd.DataFrame:
    """Stored predictions of the test split, with each utterance's clip."""
    data = own_demo_project.path / "data" / "demo"
    predictions = pd.read_parquet(data / "07_model_output" / "exp3" / "predictions.parquet")
    examples = pd.read_parquet(data / "05_model_input" / "test_examples.parquet")[["utterance", "clip"]]
    rows = predictions[predictions["split"] == "test"].merge(examples, on="utterance").head(12)
    assert len(rows) == 12
    rows["clip"] = [str(data / "01_raw" / "corpus" / clip) for clip in rows["clip"]]
    return rows


def environment(project: DemoProject) -> dict[str, str]:
    store = f"sqlite:///{project.path}/mlflow.db"
    return {**project.environment, "MLFLOW_TRACKING_URI": store}


def test_the_command_predicts_what_evaluation_stored(own_demo_project: DemoProject, evaluated: pd.DataFrame) -> None:
    (folder,) = {Path(clip).parent for clip in evaluated["clip"]}
    words = folder.parent / f"Subtask_2_{folder.name}.json"
    params = f"model=exp3,clips={folder},text={words}"
    done = own_demo_project.kedro("run", "--pipelines=predict", "--params", params)
    output = own_demo_project.path / "data" / "demo"
    found = pd.read_parquet(output / "07_model_output" / "own_clips" / "predictions.parquet")
    assert len(found) > 50
    wanted = evaluated.set_index("clip")
    same = found.set_index("clip").loc[wanted.index]
    assert (same[COLUMNS] - wanted[COLUMNS]).abs().to_numpy().max() < 1e-6
    assert same["predicted"].tolist() == wanted["predicted"].tolist()
    assert (output / "08_reporting" / "own_clips" / "predictions.png").stat().st_size > 20_000
    said = (done.stdout + done.stderr).splitlines()
    table = (output / "08_reporting" / "own_clips" / "predictions.md").read_text().splitlines()
    summary, every = table[: table.index("All utterances:") - 1], table[table.index("All utterances:") + 2 :]
    assert len(every) == 2 + len(found)
    start = said.index(summary[2])
    assert said[start : start + len(summary) - 2] == summary[2:]
    assert any(line.endswith(summary[0]) for line in said)
    assert any(line.startswith(f"Against {len(found)} true emotions: macro F1 0.") for line in summary)
    assert len(said) <= 55
    assert (output / "08_reporting" / "own_clips" / "predictions.html").read_text().count("<tr id=") == len(found)
    assert any("08_reporting/own_clips/predictions.md" in line for line in said[-4:])


def test_words_in_quotes_are_words(registered: DemoProject, evaluated: pd.DataFrame) -> None:
    clip = evaluated["clip"].iloc[0]
    params = f'model={URI},clips={clip},text="Oh, no!"'
    done = registered.kedro("run", "--pipelines=predict", "--params", params)
    assert "| Oh, no! |" in done.stdout + done.stderr


def test_a_model_that_is_not_there_is_told_in_words(own_demo_project: DemoProject) -> None:
    done = own_demo_project.kedro("run", "--pipelines=predict", "--params", "model=exp33,text=Hi", check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Error: model=exp33: no trained model of this name" in said
    assert "Traceback" not in said


@needs_shared
def test_real_clips_with_annotations_beside_them_are_predicted(own_demo_project: DemoProject) -> None:
    clips = SHARED / "media" / "ravdess_ecf"
    own_demo_project.kedro("run", "--pipelines=predict", "--params", f"model=exp3,clips={clips}")
    found = pd.read_parquet(own_demo_project.path / "data/demo/07_model_output/own_clips/predictions.parquet")
    assert len(found) == 52
    assert (found["absent"] == "").all()
    assert found["text"].nunique() == 2


def test_a_fresh_process_gives_the_probabilities_that_evaluation_stored(
    registered: DemoProject, evaluated: pd.DataFrame, tmp_path: Path
) -> None:
    evaluated.to_parquet(tmp_path / "rows.parquet")
    code = (
        "import sys, mlflow, pandas as pd\n"
        "from pathlib import Path\n"
        "rows = pd.read_parquet(sys.argv[1])\n"
        f"model = mlflow.pyfunc.load_model({URI!r})\n"
        "asked = pd.DataFrame({'clip': [Path(c).read_bytes() for c in rows['clip']], 'text': rows['text'].tolist()})\n"
        "model.predict(asked).to_parquet(sys.argv[2])\n"
        "import trimood; print(trimood.__file__)\n"
    )
    arguments = [str(tmp_path / "rows.parquet"), str(tmp_path / "found.parquet")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env=environment(registered),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "artifacts/code/trimood.zip/trimood" in done.stdout  # the code that the model brought, not this project's
    found = pd.read_parquet(tmp_path / "found.parquet")
    assert abs(found[COLUMNS].to_numpy() - evaluated[COLUMNS].to_numpy()).max() < 1e-6


@pytest.fixture(scope="module")
def server(registered: DemoProject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `mlflow models serve`, on this machine only."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", URI, "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            cwd=folder,
            env={**environment(registered), "PATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            time.sleep(1)
            assert process.poll() is None, (folder / "log").read_text()
            try:
                if requests.get(f"{address}/ping", timeout=5).ok:
                    break
            except requests.ConnectionError:
                continue
        else:
            pytest.fail((folder / "log").read_text())
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def ask(server: str, *rows: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    answer = requests.post(f"{server}/invocations", json={"dataframe_records": rows}, timeout=120)
    return answer.status_code, answer.json()


def test_the_server_answers_with_the_probabilities_that_evaluation_stored(server: str, evaluated: pd.DataFrame) -> None:
    contents = [base64.b64encode(Path(clip).read_bytes()).decode() for clip in evaluated["clip"]]
    rows = [{"clip": clip, "text": text} for clip, text in zip(contents, evaluated["text"], strict=True)]
    status, answer = ask(server, *rows)
    assert status == 200, answer
    found = pd.DataFrame(answer["predictions"])
    assert abs(found[COLUMNS].to_numpy() - evaluated[COLUMNS].to_numpy()).max() < 1e-6
    assert found["emotion"].tolist() == evaluated["predicted"].tolist()
    status, answer = ask(server, {"text": rows[0]["text"]}, {"clip": contents[0]})
    assert status == 200
    assert [row["absent"] for row in answer["predictions"]] == ["video", "text"]


def test_the_server_refuses_what_is_wrong_with_a_400_that_says_what(server: str, evaluated: pd.DataFrame) -> None:
    path = evaluated["clip"].iloc[0]
    listing = base64.b64encode(f"ffconcat version 1.0\nfile '{path}'\n".encode()).decode()
    cut_off = base64.b64encode(Path(path).read_bytes()[:1500]).decode()
    wrong = {
        "row 1: clip is not base64": {"clip": path},
        "row 1: clip is not a video or sound file": {"clip": listing},
        "row 1: unreadable": {"clip": cut_off, "text": "Hi ."},
        "no row with a column clip": {"video": "abc"},
        "row 1: clip and text are both missing": {"clip": "", "text": " "},
    }
    for words, row in wrong.items():
        status, answer = ask(server, row)
        assert status == 400, answer
        assert words in answer["message"]
        assert "Traceback" not in json.dumps(answer)
    assert ask(server, {"text": "Still there ?"})[0] == 200


def test_the_server_refuses_what_is_too_large_and_hosts_that_are_not_its_own(server: str) -> None:
    """MLflow's server has no such limits: it is guarded as it loads the model."""
    address, kind = f"{server}/invocations", {"Content-Type": "application/json"}
    wrong = [
        (400, "nested too deeply", {"data": b"[" * 100_000 + b"]" * 100_000, "headers": kind}),
        (413, "the body is larger than the maximum of 70 MB", {"data": b" " * 71_000_000, "headers": kind}),
        (403, "the host 'evil.com' is not allowed", {"json": {}, "headers": {"Host": "evil.com"}}),
        (400, "the request has 33 rows; the maximum is 32", {"json": {"dataframe_records": [{"text": "a"}] * 33}}),
        (400, "its frames have ", {"data": request(clip=pictures(4000, 4000, 1)), "headers": kind}),
        (400, "it lasts more than 120 s", {"data": request(clip=quiet_sound(130)), "headers": kind}),
        (400, "text has 50,000 characters", {"data": request(text="a" * 50_000), "headers": kind}),
    ]
    for status, words, arguments in wrong:
        answer = requests.post(address, timeout=60, **arguments)
        assert answer.status_code == status, answer.text
        assert words in answer.json()["message"]
    assert requests.get(f"{server}/ping", headers={"Host": "evil.com"}, timeout=60).status_code == 403
    assert ask(server, {"text": "Still there ?"})[0] == 200


def test_exported_weights_come_back_to_the_bit_as_a_run_of_their_own(own_demo_project: DemoProject) -> None:
    """The last test here: the experiment's folder is then that of the imported weights."""
    data, folder = own_demo_project.path / "data" / "demo", own_demo_project.path / "exported"
    predictions, models = data / "07_model_output" / "exp3" / "predictions.parquet", data / "06_models"
    wanted = predictions.read_bytes()
    own_demo_project.kedro("run", "--pipelines=export_weights", "--params", f"experiment=exp3,to={folder}")
    card = (folder / "README.md").read_text()
    assert "| test |" in card
    (models / "exp3").rename(models / "trained")
    predictions.unlink()
    params = f"experiment=exp3,weights={folder}"
    said = own_demo_project.kedro("run", "--pipelines=import_weights", "--params", params).stdout
    assert "exp3, imported, in " in said
    assert "TF-IDF" not in said  # it would need the training examples
    assert predictions.read_bytes() == wanted
    with sqlite3.connect(own_demo_project.path / "mlflow.db") as store:
        (run,) = store.execute("select run_uuid from tags where key = 'imported.source' and value = ?", [str(folder)])
        tags = dict(store.execute("select key, value from tags where run_uuid = ?", run))
        models_logged = store.execute("select count(*) from logged_models where source_run_id = ?", run).fetchone()
    assert (tags["experiment"], tags["mlflow.runName"]) == ("exp3", "exp3 · imported")
    assert "partial" not in tags
    assert models_logged != (0,)
