"""`kedro run --pipelines=check_data`, on the demo and on broken clips: what it leaves on disk and in MLflow."""

import json
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from mlflow.entities import Run

from support.demo_project import DemoProject
from support.made_media import make_clip

pytestmark = pytest.mark.slow

REPORT = "data/demo/08_reporting/check_data"
PICTURES = ("class_balance.png", "clip_durations.png", "problem_clips.png")


def latest_check(project: DemoProject) -> tuple[Run, set[str]]:
    """The latest MLflow run of the report, and the names of its files."""
    client = mlflow.MlflowClient(f"sqlite:///{project.path}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'trimood-reports'")
    runs = client.search_runs([experiment.experiment_id], "tags.report = 'check_data'", order_by=["start_time desc"])
    files = {file.path for folder in ("", "pictures") for file in client.list_artifacts(runs[0].info.run_id, folder)}
    return runs[0], files


def test_the_demo_is_good_and_its_check_leaves_a_report_and_a_run_of_its_own(demo_project: DemoProject) -> None:
    demo_project.kedro("run", "--pipelines=check_data")
    folder = demo_project.path / REPORT
    report = json.loads((folder / "report.json").read_text())
    manifest = pd.read_parquet(folder / "manifest.parquet")
    assert report["verdict"]["level"] == "good", report["verdict"]["reasons"]
    assert len(manifest) == report["clips"]["usable"] > 300
    page = (folder / "report.html").read_text()
    assert report["verdict"]["summary"] in page
    assert page.count("data:image/png;base64,") >= 2
    for picture in PICTURES:
        assert (folder / picture).stat().st_size > 2_000
    run, files = latest_check(demo_project)
    assert (run.info.status, "partial" in run.data.tags, "experiment" in run.data.tags) == ("FINISHED", False, False)
    assert run.data.metrics["whole corpus/clips/usable"] == len(manifest)
    assert run.data.metrics["whole corpus/leakage/between_files/conversations_in_both"] == 0
    assert 0 < run.data.metrics["whole corpus/leakage/random_by_utterance/neighbour_macro_f1"] < 1
    assert {"report.html", "report.json", "manifest.parquet"} <= files
    assert {f"pictures/{picture}" for picture in PICTURES} <= files


def copy_conversations(corpus: Path, target: Path, count: int) -> None:
    """Copies the first `count` conversations of each annotation file, with their clips."""
    for split in ("train", "test"):
        chosen = json.loads((corpus / f"Subtask_2_{split}.json").read_text())[:count]
        (target / split).mkdir(parents=True)
        (target / f"Subtask_2_{split}.json").write_text(json.dumps(chosen))
        for conversation in chosen:
            for clip in (corpus / split).glob(f"dia{conversation['conversation_ID']}utt*.mp4"):
                shutil.copy(clip, target / split)


def test_broken_clips_are_reported_and_a_second_check_decodes_none(demo_project: DemoProject, tmp_path: Path) -> None:
    corpus, data = tmp_path / "corpus", tmp_path / "data"
    copy_conversations(demo_project.path / "data/demo/01_raw/corpus", corpus, 12)
    clips = sorted((corpus / "train").glob("*.mp4"))
    clips[0].unlink()
    clips[1].write_bytes(b"")
    clips[2].write_text("404 not found")
    make_clip(clips[3], audio="none")
    # Neither checkpoints nor anything else but the corpus is there to be used.
    params = f"corpus_dir={corpus},data_root={data},video_checkpoint=/no/such/video,audio_checkpoint=/no/such/audio"
    demo_project.kedro("run", "--env=ecf", "--pipelines=check_data", "--params", params)
    manifest = pd.read_parquet(data / "08_reporting/check_data/manifest.parquet").set_index("utterance")
    assert manifest.loc[[clip.stem for clip in clips[:4]], "findings"].to_list() == [
        "clip_missing",
        "pictures_unreadable, sound_unreadable",
        "pictures_unreadable, sound_unreadable",
        "no_audio_track",
    ]
    run, _ = latest_check(demo_project)
    assert run.data.metrics["whole corpus/clips/left_out"] == 4
    assert run.data.metrics["whole corpus/findings/train/clip_missing"] == 1
    (kept,) = (data / "04_feature/clip_facts").rglob("*.jsonl")
    facts = kept.read_bytes()
    assert facts.count(b"\n") > 100
    demo_project.kedro("run", "--env=ecf", "--pipelines=check_data", "--params", params)
    assert list((data / "04_feature/clip_facts").rglob("*.jsonl")) == [kept]
    assert kept.read_bytes() == facts


def test_annotations_that_cannot_be_read_are_the_only_thing_that_stops_a_check(
    demo_project: DemoProject, tmp_path: Path
) -> None:
    (tmp_path / "Subtask_2_train.json").write_text("[{")
    params = f"corpus_dir={tmp_path},data_root={tmp_path / 'data'}"
    done = demo_project.kedro("run", "--env=ecf", "--pipelines=check_data", "--params", params, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "Subtask_2_train.json, line 1" in said
    assert "Traceback" not in said
