"""The cutting stage on made episodes and made annotations."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import CSVDataset, ParquetDataset

from support.demo_project import copy_project
from support.made_corpus import made_conversation, write_ecf
from support.made_episodes import make_episode
from support.made_media import make_clip
from support.shared_data import SHARED, needs_shared
from trimood.config.parameters import CuttingParams
from trimood.corpus.ecf import AnnotationError
from trimood.media.episodes import EpisodeError
from trimood.pipelines.cut_clips.nodes import cut_clips, list_spans
from trimood.pipelines.cut_clips.pipeline import create_pipeline

SOURCES = Path(__file__).parents[3] / "src"

SETTINGS = {
    "splits": ["train", "test"],
    "crf": 18,
    "preset": "ultrafast",
    "audio_language": "eng",
    "overwrite": False,
    "executor": "serial",
    "workers": 1,
    "time_limit_seconds": 60,
}

TRAIN_SPANS = {
    "dia1utt1.mp4": ["S01E01", "00:00:01.000", "00:00:02.000"],
    "dia1utt2.mp4": ["S01E01", "00:00:02.000", "00:00:02.000"],
    "dia1utt3.mp4": ["S01E01", "00:00:01.000", "00:00:02.000"],
    "dia2utt1.mp4": ["S01E02", "00:00:00.000", "00:00:01.5"],
    "dia2utt2.mp4": ["S09E09", "00:00:00.000", "00:00:01.500"],
}


def params(**changed: Any) -> CuttingParams:
    return CuttingParams.model_validate({**SETTINGS, **changed})


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Six training utterances, of which one has no source, and two of a test file that holds its own."""
    folder = tmp_path / "corpus"
    write_ecf(folder, {1: ["joy", "fear", "anger"], 2: ["joy", "fear", "anger"]})
    (folder / "train_video_source_from_MECPE.json").write_text(json.dumps(TRAIN_SPANS))
    test = made_conversation(1001, ["joy", "fear"])
    test["conversation"][0]["video_source"] = ["S01E01", "00:00:03.040", "00:00:04.000"]
    test["conversation"][1]["video_source"] = ["S01E02", "00:00:03.000", "00:00:09.000"]
    write_ecf(folder, [test], "Subtask_2_test.json")
    return folder


@pytest.fixture
def episodes(tmp_path: Path) -> Path:
    folder = tmp_path / "episodes"
    make_episode(folder / "Season 1" / "Friends.S01E01.1080p.x264.mkv", seconds=5)
    make_episode(folder / "friends 1x02.mp4", seconds=5)
    return folder


def run_stage(corpus: Path, episodes: Path, results: Path, **changed: Any) -> pd.DataFrame:
    """The stage through Kedro; the table as read back from the file."""
    catalog = DataCatalog(
        {
            "corpus": MemoryDataset(corpus),
            "episodes": MemoryDataset(episodes),
            "params:cutting": MemoryDataset(params(**changed)),
            "clip_spans": ParquetDataset(filepath=str(results / "clip_spans.parquet")),
            "cut_clips": CSVDataset(filepath=str(results / "cut_clips.csv")),
        }
    )
    SequentialRunner().run(create_pipeline(), catalog)
    return catalog.load("cut_clips").set_index("clip")


def frame_count(clip: Path) -> int:
    with av.open(str(clip)) as container:
        return sum(1 for _ in container.decode(video=0))


@pytest.mark.slow
def test_each_clip_is_cut_or_refused_by_name_and_counted(
    corpus: Path, episodes: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="trimood"):
        table = run_stage(corpus, episodes, tmp_path)
    assert table["problem"].fillna("").to_dict() == {
        "train/dia1utt1.mp4": "",
        "train/dia1utt2.mp4": "empty_span",
        "train/dia1utt3.mp4": "",
        "train/dia2utt1.mp4": "",
        "train/dia2utt2.mp4": "no_episode",
        "train/dia2utt3.mp4": "no_source",
        "test/dia1001utt1.mp4": "",
        "test/dia1001utt2.mp4": "beyond_the_end",
    }
    made = {path.relative_to(corpus).as_posix() for path in corpus.rglob("*") if path.parent != corpus}
    assert made - {"train", "test"} == set(table.index[table["state"] == "cut"])
    assert table.loc["train/dia2utt1.mp4", ["episode_file", "frame_count", "video_seconds"]].tolist() == [
        "friends 1x02.mp4",
        38,
        1.5,
    ]
    for clip in made - {"train", "test"}:
        assert frame_count(corpus / clip) == table.loc[clip, "frame_count"]
    assert "4 clips cut, 0 kept, 4 refused; 0 of the clips have no sound" in caplog.text
    assert "4 clips were not cut (" in caplog.text
    assert "train/dia2utt2.mp4: S09E09: none of the 2 files in" in caplog.text


@pytest.mark.slow
def test_a_second_run_keeps_what_the_first_has_cut(corpus: Path, episodes: Path, tmp_path: Path) -> None:
    first = run_stage(corpus, episodes, tmp_path)
    (corpus / "train" / "dia1utt3.mp4").unlink()
    again = run_stage(corpus, episodes, tmp_path)
    assert again["state"].value_counts().to_dict() == {"refused": 4, "kept": 3, "cut": 1}
    assert again.loc["train/dia1utt3.mp4", "state"] == "cut"
    pd.testing.assert_frame_equal(again.drop(columns="state"), first.drop(columns="state"))


@pytest.mark.slow
def test_one_split_alone_can_be_cut(corpus: Path, episodes: Path, tmp_path: Path) -> None:
    table = run_stage(corpus, episodes, tmp_path, splits=["test"])
    assert table.index.tolist() == ["test/dia1001utt1.mp4", "test/dia1001utt2.mp4"]


@pytest.mark.slow
def test_clips_of_ones_own_stay_as_they_are(corpus: Path, episodes: Path, tmp_path: Path) -> None:
    own = make_clip(corpus / "train" / "dia1utt1.mp4")
    content = own.read_bytes()
    table = run_stage(corpus, episodes, tmp_path)
    assert table.loc["train/dia1utt1.mp4", "problem"] == "not_cut_here"
    assert own.read_bytes() == content
    assert run_stage(corpus, episodes, tmp_path, overwrite=True).loc["train/dia1utt1.mp4", "state"] == "cut"


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".MP4", ".mkv"])
def test_no_clip_is_cut_beside_ones_own_of_another_ending(
    corpus: Path, episodes: Path, tmp_path: Path, ending: str
) -> None:
    own = make_clip(tmp_path / "own.mp4").rename(corpus / f"dia1utt1{ending}")
    table = run_stage(corpus, episodes, tmp_path)
    assert table.loc["dia1utt1.mp4", "problem"] == "not_cut_here"
    assert f"{own.name} is in its place" in table.loc["dia1utt1.mp4", "detail"]
    assert not (corpus / "dia1utt1.mp4").exists()
    assert (corpus / "dia1utt3.mp4").is_file()


@pytest.mark.parametrize("ending", [".mp4", ".MP4", ".mkv"])
def test_where_clips_lie_beside_the_annotations_the_others_join_them(corpus: Path, tmp_path: Path, ending: str) -> None:
    make_clip(tmp_path / "own.mp4").rename(corpus / f"dia1utt1{ending}")
    assert list_spans(corpus, params())["clip"].str.fullmatch(r"dia\d+utt\d+\.mp4").all()


@pytest.mark.slow
def test_processes_cut_the_same(corpus: Path, episodes: Path, tmp_path: Path) -> None:
    table = run_stage(corpus, episodes, tmp_path, executor="processes", workers=2)
    assert table["state"].value_counts().to_dict() == {"refused": 4, "cut": 4}


@pytest.mark.slow
def test_a_clip_that_takes_too_long_costs_itself_only(corpus: Path, episodes: Path, tmp_path: Path) -> None:
    table = run_stage(corpus, episodes, tmp_path, executor="processes", workers=1, time_limit_seconds=0.001)
    late = table[table["problem"] == "timed_out"]
    assert len(late) >= 1
    assert late["detail"].iloc[0] == "the process that cut it timed out (0.001 s: cutting.time_limit_seconds)"


def test_annotations_without_any_span_are_refused(corpus: Path) -> None:
    (corpus / "train_video_source_from_MECPE.json").unlink()
    (corpus / "Subtask_2_test.json").unlink()
    with pytest.raises(AnnotationError, match=r"none of the 6 utterances has a span in an episode\. Expected"):
        list_spans(corpus, params())


def test_a_folder_without_any_wanted_episode_is_refused(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EpisodeError, match=r"empty: it has none of the 3 requested episodes, such as"):
        cut_clips(list_spans(corpus, params()), corpus, tmp_path / "empty", params())


KILLED = """
import sys
from pathlib import Path
from trimood.config.parameters import (CuttingParams)
from trimood.pipelines.cut_clips.nodes import cut_clips, list_spans
corpus, episodes, settings = Path(sys.argv[1]), Path(sys.argv[2]), CuttingParams.model_validate_json(sys.argv[3])
cut_clips(list_spans(corpus, settings), corpus, episodes, settings)
"""


@pytest.mark.slow
def test_a_run_that_is_killed_leaves_whole_clips_and_the_next_goes_on(tmp_path: Path) -> None:
    corpus, episodes = tmp_path / "corpus", tmp_path / "episodes"
    write_ecf(corpus, {1: ["joy"] * 30})
    spans = {f"dia1utt{n}.mp4": ["S01E01", f"00:00:{n:02}.000", f"00:00:{n + 3:02}.500"] for n in range(1, 31)}
    (corpus / "train_video_source_from_MECPE.json").write_text(json.dumps(spans))
    make_episode(episodes / "S01E01.mp4", seconds=35, size=(320, 320))
    settings = json.dumps({**SETTINGS, "preset": "medium"})
    command = [sys.executable, "-c", KILLED, str(corpus), str(episodes), settings]
    worker = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(SOURCES)})
    while len(list(corpus.glob("train/dia*.mp4"))) < 3:
        assert worker.poll() is None, "all was cut before it could be killed"
        time.sleep(0.01)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    done = list(corpus.glob("train/dia*.mp4"))
    assert 3 <= len(done) < 30
    assert {frame_count(clip) for clip in done} == {88}
    half = corpus / "train" / f".dia1utt30.1.{'0' * 32}.tmp"  # as a writer that was killed a day ago leaves it
    half.touch()
    os.utime(half, (0, 0))
    table = run_stage(corpus, episodes, tmp_path, preset="medium")
    assert table["state"].value_counts().to_dict() == {"kept": len(done), "cut": 30 - len(done)}
    assert not half.exists()


@pytest.mark.slow
@needs_shared
def test_the_published_spans_are_all_read() -> None:
    table = list_spans((SHARED or Path()) / "reference" / "ecf2", params()).set_index("clip")
    assert len(table) == 13619 + 3101
    assert table["episode"].notna().all()
    assert table["episode"].nunique() == 226
    seconds = (table["end_seconds"] - table["start_seconds"]).round(3)
    assert seconds.loc[["train/dia358utt4.mp4", "test/dia2020utt6.mp4", "train/dia278utt5.mp4"]].tolist() == [
        0.0,
        0.017,
        304.94,
    ]
    assert table.loc["train/dia733utt3.mp4", "end_seconds"] == 5 * 60 + 11.82


@pytest.mark.slow
def test_the_command_line_cuts_keeps_and_says_what_it_lacks(corpus: Path, episodes: Path, tmp_path: Path) -> None:
    project = copy_project(tmp_path / "trimood")
    where = f"corpus_dir={corpus},episodes_dir={episodes},data_root={tmp_path / 'data'}"
    said = project.kedro("run", "--pipelines=cut_clips", "--params", where)
    assert "4 clips cut, 0 kept, 4 refused" in said.stdout + said.stderr
    again = project.kedro("run", "--pipelines=cut_clips", "--params", where)
    assert "0 clips cut, 4 kept, 4 refused" in again.stdout + again.stderr
    clips = project.path.parent / "data" / "08_reporting" / "cut_clips.csv"
    assert pd.read_csv(clips)["state"].value_counts().to_dict() == {"kept": 4, "refused": 4}
    (tmp_path / "empty").mkdir()
    none = project.kedro(
        "run", "--pipelines=cut_clips", "--params", where.replace(str(episodes), str(tmp_path / "empty")), check=False
    )
    assert none.returncode != 0
    assert "it has none of the 3 requested episodes" in none.stderr
    assert "Traceback" not in none.stdout + none.stderr
