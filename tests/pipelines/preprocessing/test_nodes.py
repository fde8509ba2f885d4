import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner
from kedro_datasets.pandas import ParquetDataset

from support.demo_project import DemoProject
from support.learning_examples import tiny_model
from support.made_checkpoints import TINY_AUDIO, TINY_VIDEO, made_checkpoint
from support.made_media import make_clip, make_wav, sound, with_index_in_front
from trimood.config.parameters import ClipParams, ClipProblem
from trimood.corpus.ecf import utterance_table
from trimood.corpus.preparation import BadClips
from trimood.datasets import FolderDataset, PictureDataset
from trimood.emotions import EMOTIONS
from trimood.learning.batches import collate
from trimood.learning.prediction import embed
from trimood.media.errors import in_words
from trimood.media.parts import load_part
from trimood.pipelines.preprocessing import pipeline as preprocessing
from trimood.pipelines.preprocessing.nodes import choose_test, prepare_split, read_recipe
from trimood.reports.clips import SHOWN_FRAMES, contact_sheet

RECIPE = {
    "video": {"frame_count": 4, "frame_size_pixels": 32},
    "audio": {"mel_bins": 16, "sample_rate_hz": 16000},
}
PROBLEMS = {
    "dia1utt2": "missing",
    "dia1utt3": "unreadable",
    "dia1utt4": "no_audio_track",
    "dia1utt5": "silent",
}
BOTH, SOUND = "video and audio", "audio"
MODALITIES = {"dia1utt2": BOTH, "dia1utt3": BOTH, "dia1utt4": SOUND, "dia1utt5": SOUND}


def policy(on_bad_clip: str | dict[str, str], executor: str = "serial") -> ClipParams:
    return ClipParams.model_validate(
        {"on_bad_clip": on_bad_clip, "executor": executor, "workers": 1, "time_limit_seconds": 60}
    )


def column(table: pd.DataFrame, name: str) -> dict[str, Any]:
    return dict(zip(table["utterance"], table[name], strict=True))


def utterances(count: int, first: int = 1) -> pd.DataFrame:
    """`count` utterances of conversation 1 with the emotions in turn; the words are in no clip's name."""
    numbers = range(first, first + count)
    emotions = [EMOTIONS[number % len(EMOTIONS)] for number in numbers]
    return pd.DataFrame(
        {
            "utterance": [f"dia1utt{number}" for number in numbers],
            "conversation_id": 1,
            "utterance_id": list(numbers),
            "speaker": "Ross",
            "text": [f"How {emotion} that is !" for emotion in emotions],
            "emotion": emotions,
            "label": pd.Series([EMOTIONS.index(emotion) for emotion in emotions], dtype="Int8"),
            "clip": [f"train/dia1utt{number}.mp4" for number in numbers],
        }
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of which the second is missing, the third a text file, the fourth without sound, the fifth silent."""
    folder = tmp_path_factory.mktemp("corpus") / "train"
    for number in (1, 6):
        make_clip(folder / f"dia1utt{number}.mp4", seconds=0.5, audio="noise", seed=number)
    (folder / "dia1utt3.mp4").write_text("<html>404 Not Found</html>")
    make_clip(folder / "dia1utt4.mp4", seconds=0.5, audio="none")
    make_clip(folder / "dia1utt5.mp4", seconds=0.5, audio="silent")
    return folder.parent


def test_under_fail_the_error_names_each_clip_and_its_problem_and_says_what_to_do(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(BadClips) as caught:
        prepare_split(utterances(6), corpus, RECIPE, tmp_path, tmp_path / "digests", policy("fail"))
    message = str(caught.value)
    assert message.startswith(f"{corpus}: 4 of 6 clips cannot be used (")
    for utterance, problem in PROBLEMS.items():
        assert f"{utterance}.mp4: {in_words(problem)}" in message
        assert f"1 {in_words(problem)} ({MODALITIES[utterance]})" in message.splitlines()[0]
    assert "dia1utt1.mp4" not in message
    for words in ("on_bad_clip=drop", "on_bad_clip=blank", "For one problem alone: --params data.clips.on_bad_clip."):
        assert words in message


def test_a_long_list_of_bad_clips_is_cut_and_the_rest_is_counted(tmp_path: Path) -> None:
    with pytest.raises(BadClips, match=r"25 of 25 clips cannot be used \(25 missing \(video and audio\)\)") as caught:
        prepare_split(utterances(25), tmp_path, RECIPE, tmp_path / "prepared", tmp_path / "digests", policy("fail"))
    assert str(caught.value).count("dia1utt") == 20
    assert "and 5 more" in str(caught.value)


def test_what_was_prepared_before_an_error_is_not_prepared_again(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trimood")
    with pytest.raises(BadClips):
        prepare_split(utterances(6), corpus, RECIPE, tmp_path, tmp_path / "digests", policy("fail"))
    parts = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(parts) == 5  # what is wrong with the three that can be read stands in theirs
    caplog.clear()
    prepare_split(utterances(6), corpus, RECIPE, tmp_path, tmp_path / "digests", policy("drop"))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == parts
    assert "6 clips: 5 prepared before, 1 to prepare" in caplog.text
    assert "4 of 6 clips left out of every experiment (" in caplog.text
    for utterance, problem in PROBLEMS.items():
        assert f"1 {in_words(problem)} ({MODALITIES[utterance]})" in caplog.text


def test_under_drop_every_utterance_is_an_example_or_excluded_with_its_problem(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = utterances(6)
    examples, excluded = prepare_split(table, corpus, RECIPE, tmp_path, tmp_path / "digests", policy("drop"))
    assert examples["utterance"].tolist() == ["dia1utt1", "dia1utt6"]
    assert column(excluded, "problem") == PROBLEMS
    assert column(excluded, "modality") == MODALITIES
    assert set(excluded["policy"]) == {"drop"}
    assert excluded["clip"].tolist() == [f"train/{utterance}.mp4" for utterance in PROBLEMS]
    (warning,) = [record.getMessage() for record in caplog.records if "left out of every" in record.getMessage()]
    assert warning.splitlines()[1:] == [f"  {message}" for message in excluded["message"]]
    kept = table[table["utterance"].isin(examples["utterance"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(examples.drop(columns=["part", "has_video", "has_audio"]), kept)
    assert examples["has_video"].all()
    assert examples["has_audio"].all()
    assert table.equals(utterances(6))  # the caller's table is as it was


def test_under_blank_every_utterance_stays_without_what_its_clip_lacks(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = utterances(6)
    examples, blanked = prepare_split(table, corpus, RECIPE, tmp_path, tmp_path / "digests", policy("blank"))
    pd.testing.assert_frame_equal(examples[list(table)], table)
    assert examples["has_video"].tolist() == [True, False, False, True, True, True]
    assert examples["has_audio"].tolist() == [True, False, False, False, False, True]
    for part, has_video, has_audio in examples[["part", "has_video", "has_audio"]].itertuples(index=False):
        assert (part == "") == (not has_video and not has_audio)
        if part:
            held = {name for name, has in (("frames", has_video), ("log_mel", has_audio)) if has}
            assert set(load_part(tmp_path / part)) == held
    assert (column(blanked, "problem"), column(blanked, "modality")) == (PROBLEMS, MODALITIES)
    assert set(blanked["policy"]) == {"blank"}
    assert "4 of 6 clips kept without the missing modality (" in caplog.text


def test_utterances_kept_without_what_their_clips_lack_are_what_a_model_takes(
    corpus: Path, tmp_path: Path, sources: dict[str, str]
) -> None:
    recipe = read_recipe(sources["video"], sources["audio"], policy("blank"))
    table, _ = prepare_split(utterances(6), corpus, recipe, tmp_path, tmp_path / "digests", policy("blank"))
    prepared = tiny_model(sources, modalities=("text", "video", "audio"))
    examples = prepared.examples(table, tmp_path)
    batch = collate([examples[number] for number in range(6)])
    assert batch["frames"].flatten(1).any(dim=1).tolist() == table["has_video"].tolist()
    assert batch["mel"].flatten(1).any(dim=1).tolist() == table["has_audio"].tolist()
    found = embed(prepared.model, examples, batch_size=4)
    assert found["video"].any(axis=1).tolist() == table["has_video"].tolist()
    assert found["audio"].any(axis=1).tolist() == table["has_audio"].tolist()
    assert found["text"].any(axis=1).all()


def test_each_problem_may_have_its_own_policy(corpus: Path, tmp_path: Path) -> None:
    mixed = policy({"no_audio_track": "blank", "silent": "drop", "missing": "drop", "unreadable": "blank"})
    examples, bad = prepare_split(utterances(6), corpus, RECIPE, tmp_path, tmp_path / "digests", mixed)
    assert examples["utterance"].tolist() == ["dia1utt1", "dia1utt3", "dia1utt4", "dia1utt6"]
    assert column(bad, "policy") == {"dia1utt2": "drop", "dia1utt3": "blank", "dia1utt4": "blank", "dia1utt5": "drop"}
    # What a list leaves out means fail.
    with pytest.raises(BadClips, match=r"1 of 6 clips cannot be used \(1 silent \(audio\)\)") as caught:
        prepare_split(
            utterances(6),
            corpus,
            RECIPE,
            tmp_path,
            tmp_path / "digests",
            policy({"no_audio_track": "blank", "missing": "drop", "unreadable": "drop"}),
        )
    assert "data.clips.on_bad_clip.silent=drop" in str(caught.value)


def test_where_picture_and_sound_have_different_problems_the_stricter_policy_holds(tmp_path: Path) -> None:
    samples = sound("silent", 1, 16000)
    make_wav(tmp_path / "train/dia1utt1.wav", samples, 16000).rename(tmp_path / "train/dia1utt1.mp4")
    for policies, kept, policy_held in (
        ({"unreadable": "blank", "silent": "drop"}, 0, "drop"),
        ({"unreadable": "blank", "silent": "blank"}, 1, "blank"),
    ):
        examples, bad = prepare_split(
            utterances(1), tmp_path, RECIPE, tmp_path / "prepared", tmp_path / "digests", policy(policies)
        )
        assert (len(examples), bad["policy"].tolist()) == (kept, [policy_held])
        assert bad[["problem", "modality"]].iloc[0].tolist() == ["unreadable and silent", BOTH]
        assert (
            bad["message"].iloc[0].startswith("dia1utt1.mp4: unreadable: it has no video track; silent: every sample")
        )


def test_the_policies_name_every_problem_that_a_clip_can_have() -> None:
    problems: tuple[ClipProblem, ...] = get_args(ClipProblem)
    for problem in problems:
        params = policy({problem: "drop"})
        assert [params.policy_for(other) for other in problems].count("fail") == len(problems) - 1
        assert params.policy_for(problem) == "drop"


def test_the_part_of_an_example_holds_the_frames_and_the_sound_of_its_clip(corpus: Path, tmp_path: Path) -> None:
    examples, _ = prepare_split(utterances(6), corpus, RECIPE, tmp_path, tmp_path / "digests", policy("drop"))
    assert examples["part"].nunique() == 2
    for part in examples["part"]:
        assert not Path(part).is_absolute()  # the folder of prepared clips may be moved
        tensors = load_part(tmp_path / part)
        assert tensors["frames"].shape == (4, 3, 32, 32)
        assert tensors["log_mel"].shape[1] == 16


def test_a_split_without_utterances_gives_empty_tables_with_the_same_columns(corpus: Path, tmp_path: Path) -> None:
    examples, excluded = prepare_split(utterance_table(), corpus, RECIPE, tmp_path, tmp_path, policy("fail"))
    assert examples.empty
    assert list(examples) == [*utterance_table(), "part", "has_video", "has_audio"]
    assert (examples["has_video"].dtype, examples["has_audio"].dtype) == (bool, bool)
    full, _ = prepare_split(utterances(1), corpus, RECIPE, tmp_path, tmp_path / "digests", policy("fail"))
    assert set(full) == set(examples)
    assert excluded.empty
    assert list(excluded) == ["utterance", "clip", "modality", "problem", "policy", "message"]


def test_without_clips_in_use_none_is_looked_for_and_no_checkpoint_is_read(tmp_path: Path) -> None:
    unused = policy("fail").model_copy(update={"in_use": False})
    recipe = read_recipe("/no/video", "/no/audio", unused)
    examples, bad = prepare_split(utterances(2), tmp_path / "no", recipe, tmp_path / "no", tmp_path / "no", unused)
    assert examples["utterance"].tolist() == utterances(2)["utterance"].tolist()
    assert not examples[["has_video", "has_audio"]].any(axis=None)
    assert set(examples["part"]) == {""}
    assert bad.empty
    assert not (tmp_path / "no").exists()


def test_the_official_test_is_scored_where_it_has_examples_and_else_what_was_held_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    official, held_out = utterances(2), utterances(3, first=10)
    assert choose_test(official, held_out) is official
    assert choose_test(official.iloc[:0], held_out) is held_out
    assert not caplog.records
    choose_test(official.iloc[:0], held_out.iloc[:0])
    assert "No test utterance has a usable clip" in caplog.text


def test_the_recipe_is_what_the_checkpoints_were_trained_with(tmp_path: Path) -> None:
    video = made_checkpoint(tmp_path / "video", TINY_VIDEO)
    audio = made_checkpoint(tmp_path / "audio", TINY_AUDIO)
    assert read_recipe(str(video), str(audio), policy("fail")) == {
        "video": {
            "frame_count": TINY_VIDEO.vision.num_frames,
            "frame_size_pixels": TINY_VIDEO.vision.image_size,
            "reader": "pyav",
        },
        "audio": {
            "mel_bins": TINY_AUDIO.vision.num_mel_bins,
            "sample_rate_hz": TINY_AUDIO.vision.audio_sample_rate,
            "stereo": "mean",
        },
    }


def test_frames_are_read_by_the_reader_of_the_parameters(tmp_path: Path, sources: dict[str, str]) -> None:
    (tmp_path / "train").mkdir()
    whole = make_clip(tmp_path / "whole.mp4", audio="none")
    content = with_index_in_front(whole, tmp_path / "front.mp4").read_bytes()
    (tmp_path / "train/dia1utt1.mp4").write_bytes(content[: int(0.9 * len(content))])
    messages = {}
    for reader in ("pyav", "decord"):
        clips = policy("blank").model_copy(update={"reader": reader})
        recipe = read_recipe(sources["video"], sources["audio"], clips)
        _, excluded = prepare_split(utterances(1), tmp_path, recipe, tmp_path / "prepared", tmp_path / "digests", clips)
        messages[reader] = " ".join(excluded["message"])
    assert "decord cannot read its frames" in messages["decord"]
    assert "decord" not in messages["pyav"]


def test_of_stereo_the_parameters_say_what_is_heard(tmp_path: Path, sources: dict[str, str]) -> None:
    channels = np.stack([sound("sine", 0.5, 48000)[0], sound("noise", 0.5, 48000)[0]])
    make_wav(tmp_path / "train/dia1utt1.mp4", channels, 48000, "aac")
    heard = {}
    for stereo in ("mean", "first"):
        clips = policy("blank").model_copy(update={"stereo": stereo})
        recipe = read_recipe(sources["video"], sources["audio"], clips)
        examples, _ = prepare_split(utterances(1), tmp_path, recipe, tmp_path / "prepared", tmp_path / "digests", clips)
        heard[stereo] = load_part(tmp_path / "prepared" / examples["part"][0])["log_mel"]
    assert heard["mean"].shape == heard["first"].shape
    assert (heard["mean"] - heard["first"]).abs().mean() > 1  # noise fills what the tone leaves empty


@pytest.mark.slow
def test_the_contact_sheet_shows_frames_sound_and_words_of_each_emotion_there_is(tmp_path: Path) -> None:
    table = utterances(3)
    for number in (1, 2, 3):
        make_clip(tmp_path / f"train/dia1utt{number}.mp4", seconds=0.5, audio="noise", seed=number)
    examples, _ = prepare_split(table, tmp_path, RECIPE, tmp_path / "prepared", tmp_path / "digests", policy("fail"))
    figure = contact_sheet(examples, tmp_path / "prepared")
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    shown = ((1, "fear"), (2, "sadness"), (3, "neutral"))
    assert words == [line for n, e in shown for line in (f"{e} · dia1utt{n}", f"“How {e} that is !”")]
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    shapes = [picture.shape for picture in pictures if picture is not None]
    assert shapes.count((32, 32, 3)) == 3 * SHOWN_FRAMES
    assert sum(shape[0] == 16 and len(shape) == 2 for shape in shapes) == 3  # log-mel, low pitches at the bottom


def test_the_contact_sheet_shows_what_there_is_of_a_clip_that_lacks_something(tmp_path: Path) -> None:
    for number, audio in ((1, "noise"), (2, "none"), (8, "none")):
        make_clip(tmp_path / f"train/dia1utt{number}.mp4", seconds=0.5, audio=audio, seed=number)
    examples, _ = prepare_split(utterances(8), tmp_path, RECIPE, tmp_path / "prepared", tmp_path, policy("blank"))
    figure = contact_sheet(examples, tmp_path / "prepared")
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert [words[0], *words[2:4]] == ["fear · dia1utt1", "no sound", "sadness · dia1utt2"]
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    assert len(pictures) == 2 * SHOWN_FRAMES + 1


def stage(corpus: Path, results: Path, on_bad_clip: str) -> dict[str, Any]:
    """What the stage hands over for made utterances, by dataset name, read back from the files it wrote."""
    splits = {"training": utterances(3), "validation": utterances(3, first=4), "held_out": utterances(1, first=6)}
    tables = [f"{split}_examples" for split in (*splits, "official_test", "test")]
    excluded = [f"excluded_{split}_clips" for split in (*splits, "official_test")]
    catalog = DataCatalog(
        {
            **{f"{split}_utterances": MemoryDataset(table) for split, table in splits.items()},
            "official_test_utterances": MemoryDataset(utterance_table()),
            "corpus": MemoryDataset(corpus),
            "recipe": MemoryDataset(RECIPE),
            "prepared_clips": FolderDataset(filepath=str(results / "prepared"), create=True),
            "params:data.clips": MemoryDataset(policy(on_bad_clip)),
            "clip_digests": FolderDataset(filepath=str(results / "digests"), create=True),
            "contact_sheet": PictureDataset(filepath=str(results / "sheet.png")),
            **{name: ParquetDataset(filepath=str(results / f"{name}.parquet")) for name in (*tables, *excluded)},
        }
    )
    pipeline = preprocessing.create_pipeline()
    SequentialRunner().run(Pipeline([node for node in pipeline.nodes if "read_recipe" not in node.name]), catalog)
    return {name: catalog.load(name) for name in (*tables, *excluded)}


@pytest.mark.slow
def test_the_stage_leaves_the_same_utterances_out_for_every_experiment(corpus: Path, tmp_path: Path) -> None:
    handed_over = stage(corpus, tmp_path, "drop")
    assert handed_over["training_examples"]["utterance"].tolist() == ["dia1utt1"]
    assert handed_over["validation_examples"]["utterance"].tolist() == ["dia1utt6"]
    assert handed_over["test_examples"].equals(handed_over["held_out_examples"])
    assert handed_over["excluded_training_clips"]["problem"].tolist() == ["missing", "unreadable"]
    assert handed_over["excluded_validation_clips"]["problem"].tolist() == ["no_audio_track", "silent"]
    assert handed_over["excluded_official_test_clips"].empty
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    again = stage(corpus, tmp_path, "drop")
    assert all(again[name].equals(table) for name, table in handed_over.items())


@pytest.mark.slow
def test_the_stage_keeps_every_utterance_under_blank(corpus: Path, tmp_path: Path) -> None:
    handed_over = stage(corpus, tmp_path, "blank")
    assert [len(handed_over[f"{split}_examples"]) for split in ("training", "validation", "test")] == [3, 3, 1]
    assert handed_over["training_examples"]["has_audio"].tolist() == [True, False, False]
    assert handed_over["official_test_examples"]["has_video"].dtype == bool
    assert handed_over["excluded_validation_clips"]["policy"].tolist() == ["blank", "blank"]


def test_the_stage_stops_at_the_first_split_with_a_bad_clip(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(BadClips, match="2 of 3 clips cannot be used"):
        stage(corpus, tmp_path, "fail")


def test_each_split_has_a_node_of_its_own() -> None:
    pipeline = preprocessing.create_pipeline()
    for split in ("training", "validation", "held_out", "official_test"):
        (node,) = pipeline.only_nodes_with_outputs(f"{split}_examples").nodes
        assert {name for name in node.inputs if "utterances" in name} == {f"{split}_utterances"}


@pytest.mark.slow
@pytest.mark.faults
def test_a_command_that_is_killed_again_and_again_makes_no_part_twice(
    demo_project: DemoProject, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "kedro", "run", "--pipelines=preprocessing"]
    where, made = f"data_root={tmp_path},data.clips.workers=2", dict[Path, int]()

    def parts() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "04_feature").rglob("*.safetensors")}

    for count in (1, 120):
        run = subprocess.Popen(
            [*command, "--params", where],
            cwd=demo_project.path,
            env=demo_project.environment,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        while len(parts()) < max(count, len(made) + 1):
            assert run.poll() is None, run.communicate()
            time.sleep(0.002)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        assert parts().items() >= made.items()
        made = parts()
    said = demo_project.kedro("run", "--pipelines=preprocessing", "--params", where).stderr
    found = [tuple(map(int, numbers)) for numbers in re.findall(r"(\d+) prepared before, (\d+) to prepare", said)]
    assert parts().items() >= made.items()
    assert (sum(hits for hits, _ in found), sum(misses for _, misses in found)) == (
        len(made),
        len(parts()) - len(made),
    )
    again = demo_project.kedro("run", "--pipelines=preprocessing", "--params", where).stderr
    assert sum(map(int, re.findall(r"(\d+) prepared before, 0 to prepare", again))) == len(parts())


@pytest.mark.slow
def test_the_recipe_and_a_full_cache_are_read_without_torch(tmp_path: Path) -> None:
    """Each of these imports takes longer than the stage itself once all clips are prepared."""
    folders = [str(made_checkpoint(tmp_path / f"{of.vision.is_audio}", of)) for of in (TINY_VIDEO, TINY_AUDIO)]
    clip = make_clip(tmp_path / "dia1utt1.mp4")
    table = utterances(1).assign(clip=clip.name)
    recipe = read_recipe(*folders, policy("fail"))
    prepare_split(table, tmp_path, recipe, tmp_path / "cache", tmp_path / "digests", policy("fail"))
    table.to_parquet(tmp_path / "table.parquet")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "import pandas as pd\n"
        "from trimood.config.parameters import ClipParams\n"
        "from trimood.pipelines.preprocessing.nodes import prepare_split, read_recipe\n"
        f"clips, folder = ClipParams.model_validate({policy('fail').model_dump()!r}), Path({str(tmp_path)!r})\n"
        f"recipe = read_recipe(*{folders!r}, clips)\n"
        "table = pd.read_parquet(folder / 'table.parquet')\n"
        "examples, bad = prepare_split(table, folder, recipe, folder / 'cache', folder / 'digests', clips)\n"
        "assert recipe['video']['frame_count'] == 2 and len(examples) == 1 and not len(bad)\n"
        "print(*{name.partition('.')[0] for name in sys.modules})\n"
    )
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=paths, capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert {"pandas", "trimood"} <= imported
    assert {"av", "huggingface_hub", "matplotlib", "sklearn", "torch", "transformers"} & imported == set()
