"""What a training left is found by name, whole, and with its own calibration."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest

from support.made_checkpoints import TINY_VIDEO, made_checkpoint
from trimood.model.config import CheckpointError
from trimood.model.stored import TrainedWeights
from trimood.serving.mlflow_model import log_model
from trimood.serving.predictor import Predictor
from trimood.serving.trained_model import CALIBRATION, WEIGHTS, ModelError, load_trained
from trimood.tracking.store import use_store


def test_an_experiment_is_found_by_its_name(trained_folder: Path, sources: dict[str, str]) -> None:
    trained = load_trained("exp3", trained_folder)
    assert trained.name == "exp3"
    assert trained.modalities == ("video", "text")
    assert trained.temperature == 2.0
    assert trained.plan.checkpoints == {"video": sources["video"]}
    assert set(trained.weights.tensors) == {"head.weight"}


def test_checkpoints_that_moved_are_given_anew(trained_folder: Path, sources: dict[str, str]) -> None:
    trained = load_trained("exp6_head", trained_folder)
    moved = trained.with_checkpoints({"video": "", "audio": "/elsewhere"})
    assert moved.plan.checkpoints == {"video": sources["video"], "audio": "/elsewhere"}
    assert load_trained("exp3", trained_folder).with_checkpoints({"audio": "/elsewhere"}).plan.checkpoints == {
        "video": sources["video"]
    }


def test_an_unknown_name_is_told_which_there_are(trained_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"exp33: no trained model of this name .* there are: exp3, exp6_head"):
        load_trained("exp33", trained_folder)


def test_weights_without_calibration_say_what_makes_it(trained_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_folder / "exp3", tmp_path / "exp3")
    (tmp_path / "exp3" / "calibration.json").unlink()
    with pytest.raises(ModelError, match=r"no temperature\. Evaluate it: kedro run --pipelines=exp3"):
        load_trained("exp3", tmp_path)


def test_a_calibration_of_other_weights_is_refused(trained_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_folder / "exp3", tmp_path / "exp3")
    calibration = json.loads((trained_folder / "exp6_head" / "calibration.json").read_text())
    (tmp_path / "exp3" / "calibration.json").write_text(json.dumps(calibration))
    with pytest.raises(ModelError, match="it does not belong to the weights"):
        load_trained("exp3", tmp_path)


@pytest.mark.parametrize("model", ["0" * 32, "models:/trimood-exp3@champion"])
def test_a_run_or_a_model_that_mlflow_does_not_know_is_an_error(empty_store: Path, tmp_path: Path, model: str) -> None:
    shutil.copy(empty_store, tmp_path)
    use_store(f"sqlite:///{tmp_path}/mlflow.db")
    try:
        with pytest.raises(ModelError, match=rf"model={model}.* at sqlite:"):
            load_trained(model, tmp_path)
    finally:
        mlflow.set_tracking_uri(None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "not a whole calibration"),
        ("[]", "not a whole calibration"),
        ("{}", "not a whole calibration"),
        ('{"temperature": "warm", "weights": "WEIGHTS"}', "not a whole calibration"),
        ('{"temperature": NaN, "weights": "WEIGHTS"}', "the temperature is nan; it must be above 0"),
        ('{"temperature": 0, "weights": "WEIGHTS"}', r"the temperature is 0\.0; it must be above 0"),
    ],
)
def test_a_damaged_calibration_is_named(trained_folder: Path, tmp_path: Path, content: str, words: str) -> None:
    folder = shutil.copytree(trained_folder / "exp3", tmp_path / "exp3")
    fingerprint = load_trained("exp3", tmp_path).weights.about.fingerprint
    (folder / "calibration.json").write_text(content.replace("WEIGHTS", fingerprint))
    with pytest.raises(ModelError, match=words):
        load_trained("exp3", tmp_path)


def test_a_model_whose_parts_do_not_belong_together_is_neither_logged_nor_loaded(
    trained_folder: Path, sources: dict[str, str], tmp_path: Path
) -> None:
    weights, of_another = trained_folder / "exp3" / WEIGHTS, trained_folder / "exp6_head" / CALIBRATION
    with pytest.raises(ModelError, match="it does not belong to the weights"):
        log_model(weights, of_another, "0" * 32)
    trained = load_trained("exp3", trained_folder)
    trained.check_whole()
    others = {name: tensor + 1 for name, tensor in trained.weights.tensors.items()}
    swapped = replace(trained, weights=TrainedWeights(trained.weights.about, others))
    with pytest.raises(CheckpointError, match="exp3: the tensors of its weights are not those that their header"):
        Predictor(swapped)
    shutil.copytree(sources["video"], tmp_path / "moved")
    trained.with_checkpoints({"video": str(tmp_path / "moved")}).check_whole()
    other = made_checkpoint(tmp_path / "other", TINY_VIDEO, seed=99)
    with pytest.raises(CheckpointError, match="other: not the video checkpoint that exp3 was trained with"):
        Predictor(trained.with_checkpoints({"video": str(other)}))
