"""Which models can be chosen, and that no more of them are in memory than are asked for."""

import os
import shutil
import weakref
from pathlib import Path

import mlflow
import pytest

from trimood.app.choices import ModelsInMemory, registered_models, trained_experiments
from trimood.config.parameters import ServingParams
from trimood.serving.decoding import Decoder
from trimood.serving.trained_model import CALIBRATION, WEIGHTS
from trimood.tracking.store import use_store

DECODER = Decoder(ServingParams())


def test_experiments_that_have_weights_and_a_calibration_can_be_chosen(trained_folder: Path, tmp_path: Path) -> None:
    models = shutil.copytree(trained_folder, tmp_path / "06_models")
    (models / "training_checkpoints").mkdir()
    assert trained_experiments(models) == ["exp3", "exp6_head"]
    (models / "exp3" / CALIBRATION).unlink()
    assert trained_experiments(models) == ["exp6_head"]
    assert trained_experiments(tmp_path / "nowhere") == []


def test_registered_models_with_an_alias_can_be_chosen_by_their_version(empty_store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    use_store(uri)
    client = mlflow.MlflowClient()
    client.create_registered_model("trimood-exp4")
    for _ in range(3):
        client.create_model_version("trimood-exp4", (tmp_path / "model").as_uri())
    assert registered_models(uri) == {}
    client.set_registered_model_alias("trimood-exp4", "champion", "2")
    assert registered_models(uri) == {"trimood-exp4@champion (version 2)": "models:/trimood-exp4/2"}


def test_to_look_for_registered_models_makes_no_store(tmp_path: Path) -> None:
    assert registered_models(f"sqlite:///{tmp_path}/mlflow.db") == {}
    assert not list(tmp_path.iterdir())


def test_a_model_stays_in_memory_while_it_is_asked_for_and_leaves_it_afterwards(trained_folder: Path) -> None:
    memory = ModelsInMemory(trained_folder, {}, DECODER)
    memory.keep(["exp3", "exp6_head"])
    first = memory.load("exp3")
    memory.load("exp6_head")
    assert memory.load("exp3") is first
    assert memory.names == ["exp3", "exp6_head"]
    gone = weakref.ref(first)
    del first
    memory.keep(["exp6_head"])
    assert memory.names == ["exp6_head"]
    assert gone() is None


def test_a_model_that_was_trained_anew_is_loaded_anew(trained_folder: Path, tmp_path: Path) -> None:
    models = shutil.copytree(trained_folder, tmp_path / "06_models")
    memory = ModelsInMemory(models, {}, DECODER)
    before = memory.load("exp3")
    memory.keep(["exp3"])
    assert memory.load("exp3") is before
    weights = models / "exp3" / WEIGHTS
    os.utime(weights, ns=(0, weights.stat().st_mtime_ns + 1))
    memory.keep(["exp3"])
    assert memory.names == []
    assert memory.load("exp3") is not before


@pytest.mark.parametrize("name", ["exp77", ""])
def test_a_model_that_is_not_there_takes_no_room(trained_folder: Path, name: str) -> None:
    memory = ModelsInMemory(trained_folder, {}, DECODER)
    with pytest.raises(Exception, match=f"model={name}: no trained model of this name"):
        memory.load(name)
    assert memory.names == []
