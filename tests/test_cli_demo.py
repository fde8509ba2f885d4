"""The real command line on the demo: what it makes and what it keeps."""

import json
import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from support.demo_project import DemoProject
from support.shared_data import SHARED, needs_shared
from trimood.emotions import EMOTIONS

pytestmark = pytest.mark.slow


def runs_of(project: DemoProject) -> pd.DataFrame:
    """Status and parameters of every MLflow run, read from the store itself."""
    with sqlite3.connect(project.path / "mlflow.db") as store:
        return pd.read_sql("select run_uuid, name, status from runs order by start_time", store)


def test_an_experiment_leaves_everything_that_its_catalog_entries_promise(demo_project: DemoProject) -> None:
    data = demo_project.path / "data" / "demo"
    scores = json.loads((data / "08_reporting" / "exp3" / "scores.json").read_text())
    assert set(scores) == {"validation", "test"}
    assert set(scores["test"]["per_class"]) == set(EMOTIONS)
    predictions = pd.read_parquet(data / "07_model_output" / "exp3" / "predictions.parquet")
    probabilities = predictions[[f"p_{emotion}" for emotion in EMOTIONS]]
    assert probabilities.sum(axis=1).between(1 - 1e-9, 1 + 1e-9).all()
    assert (probabilities.to_numpy().argmax(1) == predictions["predicted"].map(EMOTIONS.index)).all()
    assert len(predictions) == scores["test"]["utterances"] + scores["validation"]["utterances"]
    ablation = pd.read_csv(data / "08_reporting" / "exp3" / "modality_ablation.csv")
    intact = ablation[ablation["change"] == "intact"].set_index("split")["macro_f1"].to_dict()
    assert intact == pytest.approx({split: scores[split]["macro_f1"] for split in ("validation", "test")}, abs=1e-6)
    assert set(ablation["modality"]) == {"all", "video", "text"}
    pictures = ("confusion_matrix", "learning_curves", "modality_ablation")
    for picture in (*(f"exp3/{name}.png" for name in pictures), "contact_sheet.png"):
        assert (data / "08_reporting" / picture).stat().st_size > 10_000
    for weights in ("best", "last"):
        assert (data / "06_models" / "exp3" / f"{weights}.safetensors").stat().st_size < 20_000  # a head, no tower


def test_an_experiment_that_fails_costs_none_of_the_same_command(demo_project: DemoProject) -> None:
    known = set(runs_of(demo_project)["run_uuid"])
    params = "exp3.training.num_train_epochs=1,exp4.training.num_train_epochs=1,exp3.training.learning_rate=1.0e+38"
    assert "loss is nan" in demo_project.refused("--pipelines=exp4,exp3", "--params", params)
    new = runs_of(demo_project).loc[lambda runs: ~runs["run_uuid"].isin(known)]
    assert dict(zip(new["name"], new["status"], strict=True)) == {
        "exp3 · seed 42": "FAILED",
        "exp4 · seed 42": "FINISHED",
    }
    assert (demo_project.path / "data/demo/08_reporting/exp4/scores.json").exists()
    demo_project.kedro("run", "--pipelines=exp3")


def test_several_experiments_in_one_command_are_as_many_runs_and_decode_nothing_twice(
    demo_project: DemoProject,
) -> None:
    parts = sorted((demo_project.path / "data" / "demo" / "04_feature").rglob("*.safetensors"))
    before = [part.stat().st_mtime_ns for part in parts]
    assert len(parts) > 300
    known = set(runs_of(demo_project)["run_uuid"])
    epochs = "exp4.training.seed=77,exp4.training.num_train_epochs=1,exp6_head.training.num_train_epochs=1"
    done = demo_project.kedro("run", "--pipelines=exp4,exp6_head", "--params", epochs)
    new = runs_of(demo_project).loc[lambda runs: ~runs["run_uuid"].isin(known)]
    assert sorted(new["name"]) == ["exp4 · seed 77", "exp6_head · seed 42"]
    assert set(new["status"]) == {"FINISHED"}
    assert [part.stat().st_mtime_ns for part in parts] == before
    assert ", 0 to prepare" in done.stderr
    assert sorted((demo_project.path / "data" / "demo" / "04_feature").rglob("*.safetensors")) == parts


def test_annotations_alone_train_and_test_a_text_encoder(demo_project: DemoProject, tmp_path: Path) -> None:
    raw, corpus = demo_project.path / "data/demo/01_raw", tmp_path / "corpus"
    corpus.mkdir()
    for annotations in (raw / "corpus").glob("*.json"):
        shutil.copy(annotations, corpus)
    places = f"corpus_dir={corpus},text_tower={raw / 'checkpoints/text'},data_root={tmp_path / 'data'}"
    settings = "training.num_train_epochs=1,training.cpu_threads=1"
    demo_project.kedro("run", "--env=ecf_text", "--pipelines=exp12", "--params", f"{places},{settings}")
    scores = json.loads((tmp_path / "data/08_reporting/exp12/scores.json").read_text())
    assert scores["validation"]["utterances"] > 0
    assert scores["test"]["utterances"] > 0
    plan = json.loads((tmp_path / "data/05_model_input/exp12/plan.json").read_text())
    assert list(plan["checkpoints"]) == ["text"]
    assert not list((tmp_path / "data").rglob("04_feature/prepared_clips/**/*.safetensors"))


def test_a_submission_is_made_of_a_trained_experiment_for_a_labelled_and_an_unlabelled_test_file(
    demo_project: DemoProject, tmp_path: Path
) -> None:
    data = demo_project.path / "data" / "demo"
    demo_project.kedro("run", "--pipelines=submission", "--params", "experiment=exp3")
    labelled = json.loads((data / "07_model_output/exp3/Subtask_2_pred.json").read_text())
    official = json.loads((data / "01_raw/corpus/Subtask_2_test.json").read_text())
    assert [one["conversation_ID"] for one in labelled] == [one["conversation_ID"] for one in official]
    assert sum(len(one["emotion-cause_pairs"]) for one in labelled) > 0
    assert 0 < json.loads((data / "08_reporting/exp3/pair_scores.json").read_text())["pair_weighted_f1"] < 1
    assert dict(runs_of(demo_project)[["name", "status"]].iloc[-1]) == {"name": "submission", "status": "FINISHED"}

    corpus = tmp_path / "corpus"
    shutil.copytree(data / "01_raw" / "corpus", corpus)
    (corpus / "Subtask_2_test.json").unlink()
    for one in official:
        del one["emotion-cause_pairs"]
        for utterance in one["conversation"]:
            del utterance["emotion"]
    (corpus / "Subtask_2_test_eval_release_unlabelled.json").write_text(json.dumps(official))
    demo_project.kedro("run", "--pipelines=submission", "--params", f"experiment=exp3,corpus_dir={corpus}")
    assert json.loads((data / "07_model_output/exp3/Subtask_2_pred.json").read_text()) == labelled
    assert json.loads((data / "08_reporting/exp3/pair_scores.json").read_text()) == {}


def test_a_search_is_resumed_and_its_best_trial_runs_as_an_experiment(demo_project: DemoProject) -> None:
    def tune(trials: int) -> str:
        params = (
            f"experiment=exp3,tune.trials={trials},training.num_train_epochs=1,tune.space.training.weight_decay=null"
        )
        return demo_project.kedro("run", "--pipelines=tune", "--params", params).stderr

    assert "study exp3: 0 of 2 trials are finished" in tune(2)
    said = tune(3)
    assert "study exp3: 2 of 3 trials are finished" in said
    assert list(runs_of(demo_project)["name"].iloc[-5:]) == [
        "tune",
        "exp3 trial 0",
        "exp3 trial 1",
        "tune",
        "exp3 trial 2",
    ]
    assert set(runs_of(demo_project)["status"].iloc[-5:]) == {"FINISHED"}
    results = demo_project.path / "data/demo/08_reporting/exp3/tuning"
    assert len(pd.read_csv(results / "trials.csv")) == 3
    assert (results / "history.png").stat().st_size > 5_000
    assert (results / "importances.png").stat().st_size > 5_000
    assert f"{results / 'exp3_tuned.yml'}: the best values as an experiment" in said

    folder = demo_project.path / "conf" / "base" / "experiments"
    shutil.copy(results / "exp3_tuned.yml", folder)
    try:
        demo_project.kedro("run", "--pipelines=exp3_tuned", "--params", "training.num_train_epochs=1")
    finally:
        (folder / "exp3_tuned.yml").unlink()
    curves = json.loads((demo_project.path / "data/demo/06_models/exp3_tuned/history.json").read_text())
    best = json.loads((results / "best.json").read_text())
    assert curves["epochs"][0]["validation/macro_f1"] == pytest.approx(best["validation_macro_f1"])


def test_a_seventh_experiment_is_one_file_and_no_code(demo_project: DemoProject) -> None:
    folder = demo_project.path / "conf" / "base" / "experiments"
    (folder / "exp70.yml").write_text(
        "exp70: {modalities: [audio], train: everything, training: {num_train_epochs: 1}}\n"
    )
    try:
        demo_project.kedro("run", "--pipeline=exp70")  # the older spelling, too
    finally:
        (folder / "exp70.yml").unlink()
    assert runs_of(demo_project)["name"].iloc[-1] == "exp70 · seed 42"
    plan = json.loads((demo_project.path / "data" / "demo" / "05_model_input" / "exp70" / "plan.json").read_text())
    assert set(plan["parameters"]) == {"audio", "head", "all"}
    assert list(plan["checkpoints"]) == ["audio"]


def test_evaluation_alone_runs_again_from_what_is_stored_and_gives_the_same(demo_project: DemoProject) -> None:
    stored = demo_project.path / "data" / "demo" / "07_model_output" / "exp3" / "predictions.parquet"
    before = pd.read_parquet(stored)
    stored.unlink()
    demo_project.kedro("run", "--pipelines=exp3", "--from-nodes=exp3.predict")
    pd.testing.assert_frame_equal(pd.read_parquet(stored), before, check_exact=True)


@needs_shared
def test_the_five_experiments_run_on_real_clips_with_paths_given_as_parameters(
    demo_project: DemoProject, tmp_path: Path
) -> None:
    raw = demo_project.path / "data" / "demo" / "01_raw" / "checkpoints"
    corpus = (SHARED or Path()) / "media" / "ravdess_ecf"
    paths = f"corpus_dir={corpus},data_root={tmp_path / 'data'}"
    params = f"{paths},video_checkpoint={raw / 'video'},audio_checkpoint={raw / 'audio'}"
    experiments = ["exp1", "exp2", "exp3", "exp4", "exp6"]
    demo_project.kedro(
        "run",
        "--env=ecf",
        f"--pipelines={','.join(experiments)}",
        "--params",
        f"{params},training.num_train_epochs=1,training.cpu_threads=1",
    )
    for name in experiments:
        scores = json.loads((tmp_path / "data" / "08_reporting" / name / "scores.json").read_text())
        assert scores["test"]["utterances"] > 0
