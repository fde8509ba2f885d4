"""The MLflow model: what it holds, that it is whole without this project, and that it answers as the predictor does."""

import ast
import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import mlflow
import pandas as pd
import pytest
import yaml
from mlflow.exceptions import MlflowException

import trimood
from support.trained_experiments import write_trained
from trimood.emotions import EMOTIONS
from trimood.serving.mlflow_model import log_model, write_source
from trimood.serving.predictor import Prediction, Utterance, load_predictor
from trimood.serving.trained_model import load_trained, model_of_run
from trimood.tracking.store import use_store

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}


@pytest.fixture(scope="module")
def run(empty_store: Path, trained_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The id of a run that logged exp6_head."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy(empty_store, folder)
    use_store(f"sqlite:///{folder}/mlflow.db")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("serving", folder.as_uri()))
    with mlflow.start_run() as opened:
        folder = trained_folder / "exp6_head"
        log_model(folder / "best.safetensors", folder / "calibration.json", opened.info.run_id)
    yield opened.info.run_id
    mlflow.set_tracking_uri(None)


@pytest.fixture(scope="module")
def files(run: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(model_of_run(run)))


@pytest.fixture(scope="module")
def model(run: str) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(model_of_run(run))


@pytest.mark.slow
def test_only_what_was_trained_is_in_it_and_where_the_checkpoints_are(files: Path, sources: dict[str, str]) -> None:
    assert sorted(path.name for path in (files / "artifacts").iterdir()) == ["best.safetensors", "calibration.json"]
    largest = max(path.stat().st_size for path in files.rglob("*") if path.is_file() and path.suffix != ".zip")
    assert largest < 100_000 < min(path.stat().st_size for path in Path(sources["video"]).glob("*.bin"))
    assert not [path for path in files.rglob("*") if path.suffix in (".pkl", ".pickle", ".pyc")]
    pins = (files / "requirements.txt").read_text().split()
    assert pins
    assert all("==" in pin for pin in pins)
    assert {"torch", "transformers", "av", "mlflow"} <= {pin.split("==")[0] for pin in pins}


def test_it_is_a_few_files_and_one_of_them_is_the_source(files: Path, tmp_path: Path) -> None:
    assert len([path for path in files.rglob("*") if path.is_file()]) <= 12
    source = files / "code" / "trimood.zip"
    with ZipFile(source) as package:
        held = {name: package.read(name) for name in package.namelist()}
    own = Path(trimood.__file__).parent
    on_disk = {path.relative_to(own.parent).as_posix(): path for path in own.rglob("*") if path.is_file()}
    assert held == {name: path.read_bytes() for name, path in on_disk.items() if "__pycache__" not in name}
    assert write_source(tmp_path / "again.zip").read_bytes() == source.read_bytes()


@pytest.mark.slow
def test_every_library_that_the_models_code_imports_is_pinned(files: Path) -> None:
    code = (
        "import sys, mlflow\n"
        "mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print('\\n'.join(module.__file__ for name, module in sys.modules.items() if name.startswith('trimood')))"
    )
    command = [sys.executable, "-c", code, str(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=ENVIRONMENT)
    modules = [line.partition("trimood.zip/")[2] for line in done.stdout.splitlines() if line.endswith(".py")]
    assert len(modules) > 20
    with ZipFile(files / "code" / "trimood.zip") as package:
        imported = {name for module in modules for name in imports_of(package.read(module))}
    imported -= set(sys.stdlib_module_names) | {"trimood"}
    pins = {plain(pin.split("==")[0]) for pin in (files / "requirements.txt").read_text().split()}
    distributions = packages_distributions()
    makers = {name: set(map(plain, distributions[name])) for name in imported}
    assert {name: makers[name] for name in sorted(imported) if not pins & makers[name]} == {}
    assert {"torch", "av", "upath"} <= imported


def plain(distribution: str) -> str:
    return distribution.lower().replace("-", "_")


def imports_of(source: bytes) -> set[str]:
    """Names of the packages that a module imports at its top."""
    names: set[str] = set()
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            names.add((statement.module or "").partition(".")[0])
    return names


def test_the_signature_names_what_goes_in_and_what_comes_out(files: Path) -> None:
    signature = mlflow.models.get_model_info(str(files)).signature
    assert [(column.name, column.required) for column in signature.inputs] == [("clip", False), ("text", False)]
    kinds = [f"{kind}_{emotion}" for kind in ("p", "calibrated") for emotion in EMOTIONS]
    assert signature.outputs.input_names() == ["emotion", *kinds, "absent"]


@pytest.mark.slow
def test_a_model_that_reads_conversations_takes_them_and_counts_what_it_read(
    run: str, reader_of_conversations: Path
) -> None:
    with mlflow.start_run() as opened:
        files = [reader_of_conversations / "exp13" / name for name in ("best.safetensors", "calibration.json")]
        model = mlflow.pyfunc.load_model(log_model(*files, opened.info.run_id))
    signature = model.metadata.signature
    assert signature.inputs.input_names() == ["clip", "text", "conversation", "speaker"]
    rows = pd.DataFrame({"text": ["I won !", "No !", "No !"], "conversation": ["a", "a", None], "speaker": "Ross"})
    answer = model.predict(rows)
    assert list(answer.columns) == signature.outputs.input_names()
    assert answer["context"].tolist() == [0, 1, 0]
    assert answer["p_joy"][1] != answer["p_joy"][2]


@pytest.mark.slow
def test_its_example_is_a_request_that_it_answers(model: mlflow.pyfunc.PyFuncModel) -> None:
    answer = model.predict(model.input_example)
    assert list(answer.columns) == model.metadata.signature.outputs.input_names()
    assert answer[[f"p_{emotion}" for emotion in EMOTIONS]].sum(axis=1).tolist() == pytest.approx([1])
    assert answer["absent"].tolist() == [""]


def test_it_gives_the_probabilities_of_the_predictor(
    model: mlflow.pyfunc.PyFuncModel, trained_folder: Path, clips: Path
) -> None:
    content = (clips / "whole.mp4").read_bytes()
    rows = pd.DataFrame({"clip": [content, None, base64.b64encode(content).decode()], "text": ["Hi .", "Hi .", None]})
    answer = model.predict(rows)
    utterances = [Utterance(clips / "whole.mp4", "Hi ."), Utterance(None, "Hi ."), Utterance(clips / "whole.mp4")]
    for row, wanted in zip(
        answer.to_dict("records"), load_predictor("exp6_head", trained_folder).predict(utterances), strict=True
    ):
        assert isinstance(wanted, Prediction)
        assert row["emotion"] == wanted.emotion
        assert {e: row[f"p_{e}"] for e in EMOTIONS} == pytest.approx(wanted.probabilities, abs=1e-9)
        assert {e: row[f"calibrated_{e}"] for e in EMOTIONS} == pytest.approx(wanted.calibrated, abs=1e-9)
        assert row["absent"] == ", ".join(wanted.absent)


@pytest.mark.parametrize("name", ["broken.mp4", "nowhere"])
def test_a_bad_clip_is_an_invalid_parameter(model: mlflow.pyfunc.PyFuncModel, clips: Path, name: str) -> None:
    clip = (clips / name).read_bytes() if name == "broken.mp4" else str(clips / "whole.mp4")
    with pytest.raises(MlflowException, match="row 1: ") as caught:
        model.predict(pd.DataFrame({"clip": [clip], "text": ["Hi ."]}))
    assert caught.value.get_http_status_code() == 400


def test_no_file_of_a_request_is_left_behind(
    model: mlflow.pyfunc.PyFuncModel, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    model.predict(pd.DataFrame({"clip": [(clips / "whole.mp4").read_bytes()]}))
    with pytest.raises(MlflowException):
        model.predict(pd.DataFrame({"clip": [(clips / "broken.mp4").read_bytes()]}))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_checkpoints_that_moved_are_given_at_loading_or_by_the_environment(
    run: str, sources: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    shutil.copytree(sources["video"], folder)
    write_trained(tmp_path / "exp3", {"video": str(folder)}, ("text", "video"))
    folder.rename(tmp_path / "moved")
    with mlflow.start_run() as opened:  # without the checkpoints: logging loads none
        files = [tmp_path / "exp3" / name for name in ("best.safetensors", "calibration.json")]
        uri = log_model(*files, opened.info.run_id)
    with pytest.raises(Exception, match="gone: no such folder"):
        mlflow.pyfunc.load_model(uri)
    words = pd.DataFrame({"text": ["Hi ."]})
    given = mlflow.pyfunc.load_model(uri, model_config={"video_checkpoint": str(tmp_path / "moved")}).predict(words)
    monkeypatch.setenv("TRIMOOD_VIDEO_CHECKPOINT", str(tmp_path / "moved"))
    by_environment = mlflow.pyfunc.load_model(uri).predict(words)
    pd.testing.assert_frame_equal(given, by_environment)


def test_a_runs_id_and_its_models_uri_find_the_same_weights(run: str, trained_folder: Path) -> None:
    by_run, by_uri = load_trained(run, trained_folder), load_trained(model_of_run(run), trained_folder)
    assert by_run.weights.tensors["head.weight"].equal(by_uri.weights.tensors["head.weight"])
    assert by_run.temperature == load_trained("exp6_head", trained_folder).temperature


def test_the_description_is_of_code_and_not_of_a_pickle(files: Path) -> None:
    flavor = yaml.safe_load((files / "MLmodel").read_text())["flavors"]["python_function"]
    assert flavor["loader_module"] == "mlflow.pyfunc.loaders.code_model"
    assert "python_model" not in flavor
