"""Which models can be chosen, and that no more of them are in memory than are asked for."""

import json
import os
import shutil
import weakref
from pathlib import Path

import mlflow
import pytest
from mlflow.store.entities import PagedList

from trimood.app.choices import (
    Choice,
    ModelsInMemory,
    _all_registered,
    best_first,
    registered_models,
    trained_experiments,
)
from trimood.config.parameters import ServingParams
from trimood.model.stored import Imported, TrainedWeights, read_weights, write_weights
from trimood.serving.decoding import Decoder
from trimood.serving.trained_model import CALIBRATION, WEIGHTS
from trimood.tracking.store import use_store

DECODER = Decoder(ServingParams())


def names(choices: list[Choice]) -> list[str]:
    return [choice.name for choice in choices]


def test_experiments_that_have_weights_and_a_calibration_can_be_chosen(trained_folder: Path, tmp_path: Path) -> None:
    models = shutil.copytree(trained_folder, tmp_path / "06_models")
    (models / "training_checkpoints").mkdir()
    assert names(trained_experiments(models, "")) == ["exp3", "exp6_head"]
    (models / "exp3" / CALIBRATION).unlink()
    assert names(trained_experiments(models, "")) == ["exp6_head"]
    assert trained_experiments(tmp_path / "nowhere", "") == []


def test_an_experiment_has_its_test_score_and_what_was_trained_beside_its_name(
    trained_folder: Path, reader_of_conversations: Path, tmp_path: Path
) -> None:
    scores = {"validation": {"macro_f1": 0.5}, "test": {"macro_f1": 0.4321}}
    (tmp_path / "exp3.json").write_text(json.dumps(scores))
    (tmp_path / "exp6_head.json").write_text('{"validation": {"macro_f1": 0.25}}')
    exp3, exp6_head = trained_experiments(trained_folder, f"{tmp_path}/{{experiment}}.json")
    assert (exp3.validation, exp3.test, exp6_head.validation, exp6_head.test) == (0.5, 0.4321, 0.25, None)
    assert exp3.label == f"exp3 · test macro F1 0.432 · {exp3.trained}"
    assert exp3.trained.startswith("text + video")
    assert exp6_head.label == f"exp6_head · {exp6_head.trained}"
    (exp13,) = trained_experiments(reader_of_conversations, "")
    assert (exp13.context.previous, exp13.context.speakers) == (1, True)
    assert exp13.test is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"validation": 1}'])
def test_scores_that_cannot_be_read_are_none(trained_folder: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "exp3.json").write_text(content)
    exp3, _ = trained_experiments(trained_folder, f"{tmp_path}/{{experiment}}.json")
    assert (exp3.validation, exp3.test) == (None, None)


def test_weights_of_another_version_can_be_chosen_and_say_what_is_wrong_then(
    trained_folder: Path, tmp_path: Path
) -> None:
    models = shutil.copytree(trained_folder, tmp_path / "06_models")
    (models / "exp3" / WEIGHTS).write_bytes(b"no weights")
    exp3, _ = trained_experiments(models, "")
    assert (exp3.name, exp3.trained) == ("exp3", "")


def test_the_best_on_validation_is_first_whatever_the_test_scores_are() -> None:
    unknown, worse, best = Choice("a", "a", None, 0.9), Choice("b", "b", 0.4, 0.8), Choice("c", "c", 0.5, 0.1)
    assert best_first([unknown, worse, best]) == [best, worse, unknown]


def test_a_score_on_other_utterances_and_that_of_imported_weights_do_not_lead() -> None:
    here = [Choice(name, name, score, validated_on="a") for name, score in (("worse", 0.4), ("best", 0.5))]
    registered = Choice("models:/m/1", "m", 0.45, validated_on="a")
    foreign = [Choice(f"models:/f/{n}", f"f{n}", 0.9, validated_on="b") for n in range(3)]
    imported = Choice("exp1", "exp1", 0.8)
    found = best_first([*foreign, imported, *here, registered])
    assert names(found) == ["best", "m", "worse", "f0", "f1", "f2", "exp1"]
    assert names(best_first([*here, *foreign])[:2]) == ["best", "worse"]


def test_a_trained_experiment_says_on_what_it_was_validated_unless_it_was_imported(
    trained_folder: Path, tmp_path: Path
) -> None:
    weights = read_weights(trained_folder / "exp3" / WEIGHTS)
    exp3, _ = trained_experiments(trained_folder, "")
    assert exp3.validated_on == weights.about.identity.examples.validation != ""
    models = shutil.copytree(trained_folder, tmp_path / "06_models")
    origin = Imported(source="hub", digest="0" * 16, head="given")
    identity = weights.about.identity.model_copy(update={"imported": origin})
    about = weights.about.model_copy(update={"identity": identity})
    write_weights(models / "exp3" / WEIGHTS, TrainedWeights(about, weights.tensors))
    assert trained_experiments(models, "")[0].validated_on == ""


def test_registered_models_with_an_alias_can_be_chosen_by_their_version(empty_store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    use_store(uri)
    client = mlflow.MlflowClient()
    client.create_registered_model("trimood-exp4")
    for _ in range(3):
        client.create_model_version("trimood-exp4", (tmp_path / "model").as_uri())
    assert registered_models(uri) == []
    client.set_registered_model_alias("trimood-exp4", "champion", "2")
    assert registered_models(uri) == [Choice("models:/trimood-exp4/2", "trimood-exp4@champion (version 2)")]


def test_a_registered_model_has_the_scores_of_its_run(empty_store: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path)}"
    use_store(uri)
    client = mlflow.MlflowClient()
    run = client.create_run(client.create_experiment("trimood", (tmp_path / "artifacts").as_uri())).info.run_id
    for name, value in (("validation/macro_f1", 0.5), ("test/macro_f1", 0.25)):
        client.log_metric(run, name, value)
    for name, text in (("modalities", "text+video"), ("context.previous", "2"), ("context.speakers", "True")):
        client.log_param(run, name, text)
    client.create_registered_model("trimood-exp13")
    client.create_model_version("trimood-exp13", (tmp_path / "model").as_uri(), run_id=run)
    client.set_registered_model_alias("trimood-exp13", "champion", "1")
    client.set_tag(run, "examples.validation", "0123")
    client.create_registered_model("trimood-exp4")  # its run is gone
    client.create_model_version("trimood-exp4", (tmp_path / "model").as_uri(), run_id="0" * 32)
    client.set_registered_model_alias("trimood-exp4", "champion", "1")
    found, without_run = registered_models(uri)
    assert without_run == Choice("models:/trimood-exp4/1", "trimood-exp4@champion (version 1)")
    assert found.validated_on == "0123"
    assert (found.validation, found.test, found.trained) == (0.5, 0.25, "text, video")
    assert str(found.context) == "2 before and speakers"


def test_models_of_all_pages_of_the_registry_are_found() -> None:
    class Client:
        """A registry of two pages."""

        def search_registered_models(self, page_token: str | None = None) -> PagedList:
            return PagedList(["b"], None) if page_token else PagedList(["a"], "second")

    assert list(_all_registered(Client())) == ["a", "b"]


def test_to_look_for_registered_models_makes_no_store(tmp_path: Path) -> None:
    assert registered_models(f"sqlite:///{tmp_path}/mlflow.db") == []
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
