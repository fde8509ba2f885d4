"""The real command line on the demo: what bad input is told, before any work is wasted."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from support.demo_project import DemoProject, copy_project
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint, write_config
from support.made_corpus import write_ecf
from support.made_media import make_clip
from trimood.emotions import EMOTIONS

pytestmark = pytest.mark.slow


def results_in(folder: Path) -> dict[Path, int]:
    """The files below a folder and when they were written; without locks, which are taken before the checks."""
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")
    }


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
        (
            ["--pipelines=submission", "--params", "experiment=exp5"],
            ["exp5/identity.json: no such file", "Run this first: kedro run --pipelines=exp5"],
        ),
        (
            ["--pipelines=tune", "--params", "tune.space.lora.rank.low=1,tune.space.lora.rank.high=2"],
            ["unknown key 'rank'"],
        ),
        (["--pipelines=tune", "--params", "tune.space.training.learning_rate.low=1"], ["low 1 is not below high 0.03"]),
        (["--pipelines=exp3", "--env=nope"], ["--env=nope: ", "has no environment nope", "demo, ecf"]),
        (["--pipelines=compare", "--params", "data_root=/no/such"], ["corpus_description", "it does not exist yet"]),
        (["--pipelines=demo", "--env=ecf"], ["nothing is generated here", "without --env"]),
    ],
)
def test_a_wrong_word_is_refused_before_anything_is_trained(
    demo_project: DemoProject, arguments: list[str], words: list[str]
) -> None:
    models = demo_project.path / "data" / "demo" / "06_models"
    before = results_in(models)
    assert models / "exp3" / "best.safetensors" in before
    said = demo_project.refused(*arguments)
    assert all(word in said for word in words), said
    assert results_in(models) == before
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
    said = demo_project.refused("--pipelines=exp3", "--params", given(corpus, tmp_path))
    assert "clips cannot be used" in said
    assert "data.clips.on_bad_clip=drop" in said
    assert "training on" not in said
    demo_project.kedro("run", "--pipelines=exp3", "--params", f"{given(corpus, tmp_path)},data.clips.on_bad_clip=drop")
    excluded = pd.read_csv(tmp_path / "data" / "08_reporting" / "excluded_clips.csv").set_index("utterance")["problem"]
    assert dict(excluded) == {
        "dia3utt2": "missing",
        "dia4utt1": "unreadable",
        "dia5utt5": "no_audio_track",
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
    said = demo_project.refused("--pipelines=exp3", "--params", given(corpus, tmp_path))
    assert all(word in said for word in words), said
    assert "preparing" not in said


def test_checkpoints_that_do_not_fit_are_refused_before_a_clip_is_decoded(
    demo_project: DemoProject, corpus: Path, tmp_path: Path
) -> None:
    video = made_checkpoint(tmp_path / "video", TINY_VIDEO)
    audio = made_checkpoint(tmp_path / "audio", TINY_AUDIO)
    params = f"{given(corpus, tmp_path)},video_checkpoint={video},audio_checkpoint={audio}"
    write_config(video, TINY_VIDEO, lora_r=16)
    assert "LanguageBind_Video_FT" in demo_project.refused("--pipelines=exp4", "--params", params)
    write_config(video, TINY_VIDEO, num_hidden_layers=3)
    said = demo_project.refused("--pipelines=exp4", "--params", params)
    assert "vision_model.encoder.layers.2" in said
    assert "preparing" not in said
    assert results_in(tmp_path / "data" / "04_feature" / "prepared_clips") == {}


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
    said = fresh.refused("--pipelines=exp3", "--params", f"{raw}={mine}")
    assert str(mine) in said or f"making it would also make {raw}" in said
    assert [path.name for path in mine.iterdir()] == ["kept.txt"]
