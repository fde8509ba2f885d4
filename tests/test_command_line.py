"""The real command line on the demo: what it makes, what it keeps, and what bad input is told before work is wasted."""

import json
import shutil
import sqlite3
from pathlib import Path

import pandas as pd
import pytest

from demo_project import DemoProject, copy_project
from made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint, write_config
from made_corpus import write_ecf
from made_media import make_clip
from shared_data import SHARED, needs_shared
from trimood.emotions import EMOTIONS

pytestmark = pytest.mark.slow


def runs_of(project: DemoProject) -> pd.DataFrame:
    """Status and parameters of every MLflow run, read from the store itself."""
    with sqlite3.connect(project.path / "mlflow.db") as store:
        return pd.read_sql("select run_uuid, name, status from runs order by start_time", store)


def refused(project: DemoProject, *arguments: str) -> str:
    """What a command that must fail says: words for people, no stack of frames."""
    done = project.kedro("run", *arguments, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0, said
    assert "Traceback" not in said
    assert "Error: " in said
    return said


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
    worth = pd.read_csv(data / "08_reporting" / "exp3" / "modality_worth.csv")
    intact = worth[worth["change"] == "intact"].set_index("split")["macro_f1"].to_dict()
    assert intact == pytest.approx({split: scores[split]["macro_f1"] for split in ("validation", "test")}, abs=1e-6)
    assert set(worth["modality"]) == {"all", "video", "text"}
    pictures = ("confusion_matrix", "learning_curves", "modality_worth")
    for picture in (*(f"exp3/{name}.png" for name in pictures), "contact_sheet.png"):
        assert (data / "08_reporting" / picture).stat().st_size > 10_000
    for weights in ("best", "last"):
        assert (data / "06_models" / "exp3" / f"{weights}.safetensors").stat().st_size < 20_000  # a head, no tower


def test_an_experiment_that_fails_costs_none_of_the_same_command(demo_project: DemoProject) -> None:
    known = set(runs_of(demo_project)["run_uuid"])
    params = "exp3.training.num_train_epochs=1,exp4.training.num_train_epochs=1,exp3.training.learning_rate=1.0e+38"
    assert "loss is nan" in refused(demo_project, "--pipelines=exp4,exp3", "--params", params)
    new = runs_of(demo_project).loc[lambda runs: ~runs["run_uuid"].isin(known)]
    assert dict(zip(new["name"], new["status"], strict=True)) == {"exp3": "FAILED", "exp4": "FINISHED"}
    assert (demo_project.path / "data/demo/08_reporting/exp4/scores.json").exists()
    demo_project.kedro("run", "--pipelines=exp3")


def test_several_experiments_in_one_command_are_as_many_runs_and_decode_nothing_twice(
    demo_project: DemoProject,
) -> None:
    parts = sorted((demo_project.path / "data" / "demo" / "04_feature").rglob("*.safetensors"))
    before = [part.stat().st_mtime_ns for part in parts]
    assert len(parts) > 300
    known = set(runs_of(demo_project)["run_uuid"])
    epochs = "exp4.training.num_train_epochs=1,exp6_head.training.num_train_epochs=1"
    done = demo_project.kedro("run", "--pipelines=exp4,exp6_head", "--params", epochs)
    new = runs_of(demo_project).loc[lambda runs: ~runs["run_uuid"].isin(known)]
    assert sorted(new["name"]) == ["exp4", "exp6_head"]
    assert set(new["status"]) == {"FINISHED"}
    assert [part.stat().st_mtime_ns for part in parts] == before
    assert ", 0 to prepare" in done.stderr
    assert sorted((demo_project.path / "data" / "demo" / "04_feature").rglob("*.safetensors")) == parts


def test_many_seeds_of_one_command_are_comparable_runs_and_stand_in_the_comparison(demo_project: DemoProject) -> None:
    known = set(runs_of(demo_project)["run_uuid"])
    params = "seeds=[1,2],training.num_train_epochs=1"
    done = demo_project.kedro("run", "--pipelines=exp3,exp4", "--params", params)
    new = runs_of(demo_project).loc[lambda runs: ~runs["run_uuid"].isin(known)]
    assert (
        sorted(zip(new["name"], new["status"], strict=True)) == [("exp3", "FINISHED")] * 2 + [("exp4", "FINISHED")] * 2
    )
    assert done.stderr.count(", 0 to prepare") == 4  # the clips of four splits were looked up once
    demo_project.kedro("run", "--pipelines=compare", "--params", "compare.baseline=exp3")
    found = json.loads((demo_project.path / "data/demo/08_reporting/comparison/comparison.json").read_text())
    assert all({1, 2} <= set(found["systems"][name]["seeds"]) for name in ("exp3", "exp4"))
    demo_project.kedro("run", "--pipelines=exp3")


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

    folder = demo_project.path / "conf" / "base" / "parameters" / "experiments"
    shutil.copy(results / "exp3_tuned.yml", folder)
    try:
        demo_project.kedro("run", "--pipelines=exp3_tuned", "--params", "training.num_train_epochs=1")
    finally:
        (folder / "exp3_tuned.yml").unlink()
    curves = json.loads((demo_project.path / "data/demo/06_models/exp3_tuned/history.json").read_text())
    best = json.loads((results / "best.json").read_text())
    assert curves["epochs"][0]["validation/macro_f1"] == pytest.approx(best["validation_macro_f1"])


def test_a_seventh_experiment_is_one_file_and_no_code(demo_project: DemoProject) -> None:
    folder = demo_project.path / "conf" / "base" / "parameters" / "experiments"
    (folder / "exp7.yml").write_text(
        "exp7: {modalities: [audio], train: everything, training: {num_train_epochs: 1}}\n"
    )
    try:
        demo_project.kedro("run", "--pipeline=exp7")  # the older spelling, too
    finally:
        (folder / "exp7.yml").unlink()
    assert runs_of(demo_project)["name"].iloc[-1] == "exp7"
    plan = json.loads((demo_project.path / "data" / "demo" / "05_model_input" / "exp7" / "plan.json").read_text())
    assert set(plan["parameters"]) == {"audio", "head", "all"}
    assert list(plan["checkpoints"]) == ["audio"]


def test_evaluation_alone_runs_again_from_what_is_stored_and_gives_the_same(demo_project: DemoProject) -> None:
    stored = demo_project.path / "data" / "demo" / "07_model_output" / "exp3" / "predictions.parquet"
    before = pd.read_parquet(stored)
    stored.unlink()
    demo_project.kedro("run", "--pipelines=exp3", "--from-nodes=exp3.predict")
    pd.testing.assert_frame_equal(pd.read_parquet(stored), before, check_exact=True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pipelines=exp33"], ["exp33: no such pipeline", "Did you mean exp3"]),
        (
            ["--pipelines=exp3", "--params", "exp3.training.learning_rat=1"],
            ["unknown key 'learning_rat'", "Did you mean learning_rate"],
        ),
        (["--pipelines=exp3", "--params", "trainin.seed=1"], ["trainin: no such parameter", "Did you mean training"]),
        (
            ["--pipelines=exp3", "--params", "exp3.modalities=[words]"],
            ["exp3.modalities.0", "'video', 'audio' or 'text'"],
        ),
        (["--pipelines=exp4", "--params", "exp4.lora.targets=[q_prj]"], ["q_prj", "q_proj"]),
        (["--pipelines=exp3", "--params", "corpus_dir=/no/such/folder"], ["/no/such/folder: no such folder"]),
        (["--pipelines=exp3", "--params", "video_checkpoint=/no/such/folder"], ["/no/such/folder: no such folder"]),
        (["--pipelines=exp3", "--runner=ParallelRunner"], ["ParallelRunner", "nothing would be tracked"]),
        (
            ["--pipelines=submission", "--params", "experiment=exp33"],
            ["exp33: no such experiment", "Did you mean exp3"],
        ),
        (["--pipelines=submission", "--params", "experiment=exp5"], ["exp5/plan.json", "It is not made yet"]),
        (
            ["--pipelines=tune", "--params", "tune.space.lora.rank.low=1,tune.space.lora.rank.high=2"],
            ["unknown key 'rank'"],
        ),
        (["--pipelines=tune", "--params", "tune.space.training.learning_rate.low=1"], ["low 1 is not below high 0.03"]),
        (["--pipelines=exp3", "--env=nope"], ["--env=nope: no such environment", "demo, ecf"]),
        (["--pipelines=compare", "--params", "data_root=/no/such"], ["corpus_description", "It is not made yet"]),
        (["--pipelines=demo", "--env=ecf"], ["nothing is generated here", "without --env"]),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_trained(
    demo_project: DemoProject, arguments: list[str], words: list[str]
) -> None:
    models = demo_project.path / "data" / "demo" / "06_models"
    before = {path: path.stat().st_mtime_ns for path in models.rglob("*")}
    assert models / "exp3" / "best.safetensors" in before
    said = refused(demo_project, *arguments)
    assert all(word in said for word in words), said
    assert {path: path.stat().st_mtime_ns for path in models.rglob("*")} == before
    assert "training on" not in said


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Ten conversations with one clip each class, clips made here."""
    folder = tmp_path / "corpus"
    write_ecf(folder, {number: [*EMOTIONS] for number in range(1, 11)})
    make_clip(folder / "one.mp4", seconds=0.5)
    (folder / "train").mkdir()
    for conversation in range(1, 11):
        for utterance in range(1, len(EMOTIONS) + 1):
            shutil.copy(folder / "one.mp4", folder / "train" / f"dia{conversation}utt{utterance}.mp4")
    return folder


def given(corpus: Path, tmp_path: Path) -> str:
    """--params that point to a corpus and leave results below it."""
    return f"corpus_dir={corpus},data_root={tmp_path / 'data'}"


def test_bad_clips_are_named_before_training_and_can_be_left_out(
    demo_project: DemoProject, corpus: Path, tmp_path: Path
) -> None:
    (corpus / "train" / "dia3utt2.mp4").unlink()
    (corpus / "train" / "dia4utt1.mp4").write_text("404 not found")
    make_clip(corpus / "train" / "dia5utt5.mp4", seconds=0.5, audio="none")
    make_clip(corpus / "train" / "dia6utt6.mp4", seconds=0.5, audio="silent")
    said = refused(demo_project, "--pipelines=exp3", "--params", given(corpus, tmp_path))
    assert "clips cannot be used" in said
    assert "data.clips.on_bad_clip=drop" in said
    assert "training on" not in said
    demo_project.kedro("run", "--pipelines=exp3", "--params", f"{given(corpus, tmp_path)},data.clips.on_bad_clip=drop")
    excluded = pd.read_csv(tmp_path / "data" / "08_reporting" / "excluded_clips.csv").set_index("utterance")["problem"]
    assert dict(excluded) == {
        "dia3utt2": "missing",
        "dia4utt1": "unreadable",
        "dia5utt5": "no audio track",
        "dia6utt6": "silent",
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"joy"', '"Joy"', 1), ["Joy", "joy"]),
        (lambda text: text[: len(text) // 2], ["Subtask_2_train.json"]),
        (lambda text: text.replace('"utterance_ID": 2', '"utterance_ID": 1', 1), ["dia", "utt1"]),
        (lambda text: '{"not": "ECF"}', ["Subtask_2_train.json"]),
    ],
)
def test_annotations_that_are_not_ecfs_are_refused(
    demo_project: DemoProject, corpus: Path, tmp_path: Path, change, words: list[str]
) -> None:
    path = corpus / "Subtask_2_train.json"
    path.write_text(change(path.read_text()))
    said = refused(demo_project, "--pipelines=exp3", "--params", given(corpus, tmp_path))
    assert all(word in said for word in words), said
    assert "preparing" not in said


def test_checkpoints_that_do_not_fit_are_refused_before_a_clip_is_decoded(
    demo_project: DemoProject, corpus: Path, tmp_path: Path
) -> None:
    video = made_checkpoint(tmp_path / "video", TINY_VIDEO)
    audio = made_checkpoint(tmp_path / "audio", TINY_AUDIO)
    params = f"{given(corpus, tmp_path)},video_checkpoint={video},audio_checkpoint={audio}"
    write_config(video, TINY_VIDEO, lora_r=16)
    assert "LanguageBind_Video_FT" in refused(demo_project, "--pipelines=exp4", "--params", params)
    write_config(video, TINY_VIDEO, num_hidden_layers=3)
    said = refused(demo_project, "--pipelines=exp4", "--params", params)
    assert "vision_model.encoder.layers.2" in said
    assert "preparing" not in said
    assert not (tmp_path / "data" / "04_feature" / "prepared_clips").exists()


def test_a_hub_out_of_reach_is_said_and_how_to_go_on_without_it(
    demo_project: DemoProject, corpus: Path, tmp_path: Path
) -> None:
    environment = demo_project.environment | {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    done = demo_project.kedro(
        "run",
        "--env=ecf",
        "--pipelines=exp4",
        "--params",
        given(corpus, tmp_path),
        check=False,
        environment=environment,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "LanguageBind/LanguageBind_" in said
    assert "hf download" in said


@pytest.mark.parametrize("raw", ["corpus_dir", "video_checkpoint"])
def test_a_path_that_the_user_gives_is_never_filled_with_generated_data(
    tmp_path: Path, demo_project: DemoProject, raw: str
) -> None:
    fresh = copy_project(tmp_path / "fresh")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "kept.txt").write_text("mine")
    if raw == "corpus_dir":  # the checkpoints are missing and are made; the corpus is the user's
        shutil.copytree(
            demo_project.path / "data" / "demo" / "01_raw" / "corpus",
            fresh.path / "data" / "demo" / "01_raw" / "corpus",
        )
    said = refused(fresh, "--pipelines=exp3", "--params", f"{raw}={mine}")
    assert str(mine) in said or f"making it would also make {raw}" in said
    assert [path.name for path in mine.iterdir()] == ["kept.txt"]


@needs_shared
def test_the_five_experiments_run_on_real_clips_with_paths_given_as_parameters(
    demo_project: DemoProject, tmp_path: Path
) -> None:
    raw = demo_project.path / "data" / "demo" / "01_raw" / "checkpoints"
    corpus = (SHARED or Path()) / "media" / "ravdess_ecf"
    params = f"{given(corpus, tmp_path)},video_checkpoint={raw / 'video'},audio_checkpoint={raw / 'audio'}"
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
