"""A search over an experiment's parameters: real trainings of a tiny model, a real Optuna store, real MLflow runs."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import optuna
import pandas as pd
import pytest
import yaml
from matplotlib import pyplot
from mlflow.entities import Run

from support.learning_examples import CLIPS, EMBEDDINGS, example_table, training
from support.tracked_project import new_outbox, runs_in
from trimood.config.experiment_settings import CROSS_ENTROPY, ExperimentParams, LoraParams, resolve
from trimood.config.experiments import find_experiments
from trimood.config.parameters import TuneParams
from trimood.learning.device import DeviceError
from trimood.learning.search.space import SpaceError, StudyError
from trimood.learning.search.study import opened
from trimood.pipelines.tune.nodes import draw_search, plan_search, search, write_best
from trimood.pipelines.tune.trial import Search
from trimood.tracking.live import current_run, set_current_run

TRAINED = training(num_train_epochs=1)
LORA = LoraParams(targets=("q_proj",), r=4, alpha=4, dropout=0, bias="all")
EXP9 = {"modalities": ["text"], "train": "head", "training": {"weight_decay": 0.01}}
RATES = {"training": {"learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}}
CORPUS = {"train": {"sha256": "0a1b2c3d4e5f"}, "has_official_test": True}


def tuned(space: dict[str, Any] = RATES, **different: Any) -> TuneParams:
    whole = {"study": "", "trials": 2, "seed": 1, "sampler": "tpe", "pruner": "none", "space": space}
    return TuneParams.model_validate(whole | different)


@pytest.fixture
def planned(sources: dict[str, str]) -> Callable[..., dict[str, Any]]:
    def plan(tune: TuneParams, own: dict[str, Any] = EXP9) -> dict[str, Any]:
        return plan_search(
            "exp9", {"exp9": own}, TRAINED, LORA, CROSS_ENTROPY, tune, CLIPS, sources["video"], sources["audio"], ""
        )

    return plan


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    made = {name: tmp_path / name for name in ("training_checkpoints", "studies", "embedding_cache")}
    for folder in made.values():
        folder.mkdir()
    return made


@pytest.fixture
def searched(planned: Callable[..., dict[str, Any]], folders: dict[str, Path], prepared_clips: Path) -> Callable:
    """Runs a search of exp9 and gives its table and its best trial."""

    def run(tune: TuneParams, own: dict[str, Any] = EXP9) -> tuple[pd.DataFrame, dict[str, Any]]:
        return search(
            planned(tune, own),
            tune,
            example_table(14),
            example_table(7),
            prepared_clips,
            folders["training_checkpoints"],
            folders["studies"],
            CORPUS,
            folders["embedding_cache"],
            EMBEDDINGS,
        )

    return run


@pytest.fixture
def tracked(tmp_path: Path, empty_store: Path) -> Iterator[Callable[[], list[Run]]]:
    """Around the test stands the run that the hook opens for the stage; gives the trials' runs in their order."""
    shutil.copy(empty_store, tmp_path)
    outbox = new_outbox(tmp_path)
    outer = outbox.open("tune", {"report": "tune", "env": "demo"})
    outer.log(params={"data.split.seed": 42})

    def runs() -> list[Run]:
        found = [run for run in runs_in(tmp_path) if run.info.run_id != outer.id]
        return sorted(found, key=lambda run: int(run.data.tags["trial"]))

    set_current_run(outer)
    yield runs
    assert current_run() is outer
    set_current_run(None)
    outbox.end()
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_a_trial_is_a_training_with_other_values_and_the_best_stands_in_the_table(searched, folders) -> None:
    table, best = searched(tuned(trials=3))
    assert list(table["state"]) == ["finished"] * 3
    assert table["training.learning_rate"].nunique() == 3
    assert table["training.learning_rate"].between(1e-4, 1e-1).all()
    top = table.loc[table["macro_f1"].idxmax()]
    assert (best["trial"], best["validation_macro_f1"]) == (top["trial"], top["macro_f1"])
    assert best["values"] == {"training.learning_rate": top["training.learning_rate"]}
    assert list(folders["training_checkpoints"].iterdir()) == []
    assert len(list(folders["embedding_cache"].iterdir())) == 1  # the first trial has embedded for all


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_and_repeats_nothing(searched) -> None:
    first, _ = searched(tuned(trials=2))
    same, _ = searched(tuned(trials=2))
    pd.testing.assert_frame_equal(first, same)
    more, _ = searched(tuned(trials=4))
    pd.testing.assert_frame_equal(more[:2], first, check_dtype=False)
    assert more["training.learning_rate"].nunique() == 4  # a sampler seeded as before would draw the first two again


@pytest.mark.slow
def test_the_same_seed_draws_the_same_values(searched, folders) -> None:
    tables = [searched(tuned(study=name, sampler="random"))[0] for name in ("one", "other")]
    pd.testing.assert_series_equal(tables[0]["training.learning_rate"], tables[1]["training.learning_rate"])
    another = searched(tuned(study="another", sampler="random", seed=7))[0]
    assert not set(another["training.learning_rate"]) & set(tables[0]["training.learning_rate"])


@pytest.mark.slow
def test_values_that_were_tried_are_not_trained_again(searched, tracked) -> None:
    table, _ = searched(tuned({"training.weight_decay": {"choices": [0.0, 0.1]}}, trials=5))
    trained = table[table["same_as"].isna()]
    assert len(trained) == len(tracked()) == 2
    for _, row in table[table["same_as"].notna()].iterrows():
        earlier = table.loc[int(row["same_as"])]
        assert (row["macro_f1"], row["training.weight_decay"]) == (
            earlier["macro_f1"],
            earlier["training.weight_decay"],
        )


@pytest.mark.slow
def test_trials_side_by_side_are_as_many_and_train_the_same_values_once(searched, tracked, folders) -> None:
    table, best = searched(tuned({"training.weight_decay": {"choices": [0.0, 0.1]}}, trials=5, jobs=2))
    assert list(table["state"]) == ["finished"] * 5
    trained = table[table["same_as"].isna()]
    assert len(trained) == len(tracked()) == table["training.weight_decay"].nunique()
    assert trained["training.weight_decay"].is_unique
    for run, (_, row) in zip(tracked(), trained.iterrows(), strict=True):
        assert (run.info.status, run.info.run_id) == ("FINISHED", row["mlflow_run"])
        assert run.data.metrics["validation/macro_f1"] == row["macro_f1"]
        assert "training curves/train_loss" in run.data.metrics
    assert best["validation_macro_f1"] == table["macro_f1"].max()
    assert list(folders["training_checkpoints"].iterdir()) == []
    again, _ = searched(tuned({"training.weight_decay": {"choices": [0.0, 0.1]}}, trials=5))
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.slow
def test_each_trial_is_a_flat_run_that_says_its_study_its_values_and_its_figure(searched, tracked) -> None:
    table, _ = searched(tuned())
    runs = tracked()
    assert [run.info.run_name for run in runs] == ["exp9 trial 0", "exp9 trial 1"]
    for run, (_, row) in zip(runs, table.iterrows(), strict=True):
        assert run.info.status == "FINISHED"
        assert run.info.run_id == row["mlflow_run"]
        wanted = {"study": "exp9", "trial": str(row["trial"]), "tuned": "exp9", "env": "demo", "seed": "1"}
        assert wanted.items() <= run.data.tags.items()
        assert run.data.tags["corpus.train.sha256"] == "0a1b2c3d4e5f"
        # The tables of results look for these two.
        assert not {"experiment", "report", "mlflow.parentRunId"} & run.data.tags.keys()
        assert float(run.data.params["training.learning_rate"]) == row["training.learning_rate"]
        assert (run.data.params["training.weight_decay"], run.data.params["data.split.seed"]) == ("0.01", "42")
        assert run.data.metrics["validation/macro_f1"] == row["macro_f1"]
        assert "training curves/train_loss" in run.data.metrics
        assert not [name for name in run.data.metrics if "test" in name]


@pytest.mark.slow
def test_a_trial_that_diverges_has_failed_and_the_search_goes_on(searched, tracked, caplog) -> None:
    table, best = searched(
        tuned({"training.learning_rate": {"choices": [1e38, 1e-2]}}, trials=6, sampler="random"),
        own={**EXP9, "train": "everything"},
    )
    states = dict(zip(table["training.learning_rate"], table["state"], strict=True))
    assert states == {1e38: "failed", 1e-2: "finished"}
    assert best["values"] == {"training.learning_rate": 1e-2}
    statuses = {run.data.params["training.learning_rate"]: run.info.status for run in tracked()}
    assert statuses == {"1e+38": "FAILED", "0.01": "FINISHED"}
    assert "nan" in caplog.text


@pytest.mark.slow
def test_a_search_none_of_whose_trials_has_a_figure_says_so(searched) -> None:
    with pytest.raises(StudyError, match=r"none of its 2 trials has a score.*Narrow tune\.space"):
        searched(tuned({"training.learning_rate": {"choices": [1e38, 1e37]}}), own={**EXP9, "train": "everything"})


@pytest.mark.slow
def test_a_trial_below_the_median_is_stopped_early_if_that_is_asked_for(searched, tracked, folders) -> None:
    # Steps of any size: some trials learn within the one epoch, some do not, and the first five are never stopped.
    space = {"training.learning_rate": {"low": 1e-6, "high": 1e-1, "log": True}}
    table, _ = searched(tuned(space, trials=10, sampler="random", pruner="median"))
    stopped = table[table["state"] == "stopped early"]
    assert len(stopped)
    assert set(table["state"][:5]) == {"finished"}
    assert stopped["macro_f1"].isna().all()
    for number in stopped["trial"]:
        run = tracked()[number]
        assert (run.info.status, run.data.tags["pruned"]) == ("FINISHED", "true")
        finished = table[:number]["macro_f1"].dropna()
        assert run.data.metrics["training curves/validation_macro_f1"] < finished.median()
    assert list(folders["training_checkpoints"].iterdir()) == []


@pytest.mark.slow
def test_trials_wait_for_a_store_that_is_locked(searched, tracked, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        table, _ = searched(tuned())
        connection.execute("ROLLBACK")
    assert table["mlflow_run"].isna().all()
    current_run().retry()
    for run, (_, row) in zip(tracked(), table.iterrows(), strict=True):
        assert (run.info.status, run.data.metrics["validation/macro_f1"]) == ("FINISHED", row["macro_f1"])
        assert run.data.tags["trial"] == str(row["trial"])


@pytest.mark.slow
@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_trial_is_marked_failed_and_its_settings_go_on_from_the_last_epoch(
    searched, tracked, folders, monkeypatch, how: type[BaseException]
) -> None:
    """SystemExit leaves the trial running in Optuna's store, as a killed process does."""
    own = {**EXP9, "training": {"num_train_epochs": 3}}
    said: list[int] = []

    def stop(numbers: dict[str, float], step: int) -> None:
        if "validation/macro_f1" in numbers:
            said.append(step)
            if said == [1, 2]:
                raise how

    with monkeypatch.context() as patched:
        patched.setattr("trimood.pipelines.tune.trial.log_live", stop)
        with pytest.raises(how):
            searched(tuned(trials=1), own)
    (run,) = tracked()
    assert run.info.status == "KILLED"
    (folder,) = folders["training_checkpoints"].iterdir()
    assert [path.name for path in folder.glob("checkpoint-*")]

    table, _ = searched(tuned(trials=1), own)
    assert list(table["state"]) == ["failed", "finished"]
    assert table["training.learning_rate"].nunique() == 1
    assert table["goes_on_with"].iloc[1] == 0
    assert [run.info.status for run in tracked()] == ["KILLED", "FINISHED"]
    assert list(folders["training_checkpoints"].iterdir()) == []
    again, _ = searched(tuned(trials=1), own)
    assert len(again) == 2


@pytest.mark.slow
def test_a_trial_that_is_killed_before_its_score_is_stored_is_repeated(searched, monkeypatch) -> None:
    whole = Search.run

    def killed(search: Search, trial: optuna.Trial) -> float:
        whole(search, trial)
        raise SystemExit  # which Optuna does not note, as a killed process does not

    with monkeypatch.context() as patched:
        patched.setattr(Search, "run", killed)
        with pytest.raises(SystemExit):
            searched(tuned(trials=1))
    table, _ = searched(tuned(trials=1))
    assert list(table["state"]) == ["failed", "finished"]
    assert table["goes_on_with"].iloc[1] == 0


@pytest.mark.slow
def test_a_study_is_not_gone_on_with_when_what_its_figures_mean_has_changed(searched) -> None:
    searched(tuned(trials=1))
    other = {"training": {"learning_rate": {"low": 1e-4, "high": 1e-2}}}
    with pytest.raises(
        StudyError, match=r"space training\.learning_rate: 0\.0001 to 0\.1, logarithmic, now 0\.0001 to"
    ):
        searched(tuned(other, trials=2))
    with pytest.raises(StudyError, match=r"settings\.training\.weight_decay: 0\.01, now 0\.5.*"):
        searched(tuned(trials=2), {**EXP9, "training": {"weight_decay": 0.5}})
    table, _ = searched(tuned(other, trials=1, study="narrower"))
    assert len(table) == 1


def test_two_commands_do_not_run_one_study_at_once(folders: dict[str, Path]) -> None:
    with opened(folders["studies"], "exp9", tuned(), {}):
        another = opened(folders["studies"], "exp9", tuned(), {})
        with pytest.raises(StudyError, match=r"exp9 is in use by another command.*tune\.study=NAME"):
            another.__enter__()
        with opened(folders["studies"], "other", tuned(), {}) as other:
            assert other.trials == []


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (
            {"trainin.learning_rate": {"low": 1, "high": 2}},
            r"unknown key 'trainin'; allowed here: modalities.*Did you mean train",
        ),
        ({"training.learning_rat": {"low": 1, "high": 2}}, r"unknown key 'learning_rat'.*Did you mean learning_rate"),
        ({"training.learning_rate": {"low": -1, "high": 2}}, r"learning_rate = -1: Input should be greater than 0"),
        ({"training.num_train_epochs": {"low": 1.5, "high": 2}}, r"num_train_epochs = 1\.5: .*valid integer"),
        ({"lora.r": {"choices": [4, 8]}}, r"lora\.r = 4: .*train: head uses no adapters"),
        ({"modalities": {"choices": [["text"], ["vidio"]]}}, r"'vidio'.*: .*'video', 'audio' or 'text'"),
        ({"loss.class_weights": {"choices": ["sqrt", "root"]}}, r"'none', 'sqrt' or 'balanced'"),
        ({"loss.label_smoothing": {"low": 0.0, "high": 1.0}}, r"label_smoothing = 1.0: .* less than 1"),
        ({"train.x": {"low": 1, "high": 2}}, r"train\.x: train is a value \(head\)"),
    ],
)
def test_a_space_that_does_not_fit_the_experiment_is_refused_before_anything_is_read(planned, space, words) -> None:
    with pytest.raises(SpaceError, match=r"(?s)tune\.space does not fit exp9.*" + words):
        planned(tuned(space))


def test_a_choice_that_this_machine_cannot_train_is_refused_before_anything_is_read(planned) -> None:
    choices = ["adamw_torch", "adamw_bnb_8bit"]
    with pytest.raises(DeviceError, match="bitsandbytes is not installed"):
        planned(tuned({"training.optim": {"choices": choices}}))


@pytest.mark.slow
def test_choices_may_be_lists_and_ranges_whole_numbers(searched, planned) -> None:
    space = {
        "lora": {"targets": {"choices": [["q_proj"], ["q_proj", "v_proj"]]}, "r": {"low": 2, "high": 4}},
        "loss": {"class_weights": {"choices": ["none", "sqrt"]}},
    }
    own = {"modalities": ["text"], "train": "lora", "head": "trained"}
    table, best = searched(tuned(space), own)
    assert set(table["lora.targets"]) <= {"q_proj", "q_proj+v_proj"}
    assert best["values"]["lora.targets"] in (["q_proj"], ["q_proj", "v_proj"])
    assert isinstance(best["values"]["lora.r"], int)
    assert set(table["loss.class_weights"]) <= {"none", "sqrt"}


@pytest.mark.slow
def test_the_best_trial_is_an_experiments_file_that_resolves_to_its_settings(searched, planned, tmp_path) -> None:
    tune = tuned()
    _, best = searched(tune)
    text = write_best(planned(tune), best)
    (tmp_path / "base/experiments").mkdir(parents=True)
    (tmp_path / "base/experiments/exp9_tuned.yml").write_text(text)
    assert find_experiments(str(tmp_path), ("base",)) == ("exp9_tuned",)
    own = yaml.safe_load(text)["exp9_tuned"]
    settings = resolve(ExperimentParams.model_validate(own), TRAINED, LORA)
    assert settings.training.learning_rate == best["values"]["training.learning_rate"]
    assert settings.training.weight_decay == 0.01  # of the experiment's own file
    assert "kedro run --pipelines=exp9_tuned" in text
    assert "on validation" in text


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_optunas_pictures_are_drawn_of_any_study(searched, planned, folders, count: int) -> None:
    tune = tuned(trials=count)
    table, _ = searched(tune)
    history, importances = draw_search(planned(tune), folders["studies"], table)
    assert len(history.axes) == 1
    assert len(importances.axes) == (1 if table["macro_f1"].nunique() > 1 else 0)
    assert pyplot.get_fignums() == []
