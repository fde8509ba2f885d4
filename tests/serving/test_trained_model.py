"""What a training left is found by name, whole, and with its own calibration."""

import json
import shutil
from pathlib import Path

import mlflow
import pytest

from trimood.serving.trained_model import ModelError, load_trained
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
