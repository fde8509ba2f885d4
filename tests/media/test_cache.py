import logging
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from support.made_media import make_clip, make_wav, sound
from trimood.disk import DiskFull
from trimood.media.audio import log_mel, read_waveform
from trimood.media.cache import PreparedClips, load_part, prepare_clips
from trimood.media.contents import content_name
from trimood.media.errors import ClipError, in_words
from trimood.media.execution import Execution
from trimood.media.parts import TENSORS, part_path, write_whole
from trimood.media.recipes import AudioRecipe, Recipe, VideoRecipe
from trimood.media.video import read_frames

SERIAL, TWO = Execution("serial"), Execution("processes", workers=2)
RECIPE = Recipe(VideoRecipe(frame_count=4, frame_size_pixels=32), AudioRecipe(mel_bins=16))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {f"dia1utt{n}": make_clip(folder / f"dia1utt{n}.mp4", seconds=0.5, seed=n) for n in range(1, 9)}


UNREADABLE = {"video": "unreadable", "audio": "unreadable"}


def wrong(prepared: PreparedClips) -> dict[str, dict[str, str]]:
    """The problems by clip and modality."""
    return {key: {m: error.problem for m, error in found.items()} for key, found in prepared.problems.items()}


def files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): content for path, (_, content) in files(folder).items()}


@pytest.mark.slow
def test_a_part_holds_the_frames_and_the_whole_log_mel(clips: dict[str, Path], tmp_path: Path) -> None:
    prepared = prepare_clips(clips, RECIPE, tmp_path, SERIAL)
    assert list(prepared.parts) == list(clips)
    assert (prepared.hits, prepared.misses, prepared.problems) == (0, 8, {})
    for key, clip in clips.items():
        part = load_part(prepared.parts[key])
        assert set(part) == {"frames", "log_mel"}
        assert torch.equal(part["frames"], read_frames(clip, RECIPE.video))
        torch.testing.assert_close(part["log_mel"], log_mel(read_waveform(clip, 16000), RECIPE.audio))
    assert len(set(prepared.parts.values())) == 8


def test_an_unchanged_run_decodes_nothing_whatever_is_wrong_with_a_clip(
    clips: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "trimood")
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    every = {**clips, "mute": make_clip(tmp_path / "mute.mp4", audio="none"), "page": tmp_path / "page.mp4"}
    first = prepare_clips(every, RECIPE, tmp_path / "cache", SERIAL)
    assert "10 clips: 0 prepared before, 10 to prepare" in caplog.text
    assert re.search(r"prepared 10 clips in \d+\.\d s: \d+\.\d clips a second", caplog.text)
    before = files(tmp_path)
    caplog.clear()
    again = prepare_clips(every, RECIPE, tmp_path / "cache", TWO)
    assert (again.hits, again.misses, again.parts) == (10, 0, first.parts)
    assert wrong(again) == wrong(first) == {"mute": {"audio": "no_audio_track"}, "page": UNREADABLE}
    assert files(tmp_path) == before
    assert [record.getMessage() for record in caplog.records] == ["10 clips: 10 prepared before, 0 to prepare"]


def test_a_clip_is_known_by_its_bytes_and_not_by_its_name_or_date(clips: dict[str, Path], tmp_path: Path) -> None:
    first = prepare_clips(clips, RECIPE, tmp_path / "cache", SERIAL)
    moved = {f"moved {key}": shutil.copyfile(clip, tmp_path / f"{key}.mp4") for key, clip in clips.items()}
    again = prepare_clips(moved, RECIPE, tmp_path / "cache", SERIAL)
    assert (again.hits, again.misses) == (8, 0)
    assert again.parts["moved dia1utt3"] == first.parts["dia1utt3"]


def test_clips_of_the_same_bytes_are_prepared_once(clips: dict[str, Path], tmp_path: Path) -> None:
    twin = Path(shutil.copyfile(clips["dia1utt1"], tmp_path / "dia9utt1.mp4"))
    prepared = prepare_clips({"a": clips["dia1utt1"], "b": twin, "c": twin}, RECIPE, tmp_path / "cache", SERIAL)
    assert len(set(prepared.parts.values())) == 1
    assert len(contents(tmp_path / "cache")) == 1
    assert (prepared.hits, prepared.misses) == (0, 3)


@pytest.mark.parametrize(
    "other",
    [
        Recipe(VideoRecipe(frame_count=5, frame_size_pixels=32), RECIPE.audio),
        Recipe(VideoRecipe(frame_count=4, frame_size_pixels=40), RECIPE.audio),
        Recipe(VideoRecipe(frame_count=4, frame_size_pixels=32, reader="decord"), RECIPE.audio),
        Recipe(RECIPE.video, AudioRecipe(mel_bins=20)),
        Recipe(RECIPE.video, AudioRecipe(mel_bins=16, sample_rate_hz=8000)),
    ],
)
def test_any_change_of_the_recipe_prepares_anew_and_keeps_what_was(
    clips: dict[str, Path], tmp_path: Path, other: Recipe
) -> None:
    clips = dict(list(clips.items())[:2])
    first = prepare_clips(clips, RECIPE, tmp_path, SERIAL)
    second = prepare_clips(clips, other, tmp_path, SERIAL)
    assert (second.hits, second.misses) == (0, 2)
    assert set(first.parts.values()).isdisjoint(second.parts.values())
    assert prepare_clips(clips, RECIPE, tmp_path, SERIAL).hits == 2


@pytest.mark.slow
def test_two_workers_give_the_same_bytes_as_none(
    clips: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare_clips(clips, RECIPE, tmp_path / "serial", SERIAL)
    assert prepare_clips(clips, RECIPE, tmp_path / "parallel", TWO).misses == 8
    assert contents(tmp_path / "serial") == contents(tmp_path / "parallel")
    assert len(contents(tmp_path / "serial")) == 8
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.slow  # starting a cluster takes seconds
def test_ray_gives_the_same_bytes_as_this_process(clips: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: the executor `ray` is NOT checked")
    prepare_clips(clips, RECIPE, tmp_path / "serial", SERIAL)
    on_ray = prepare_clips(
        {**clips, "missing": tmp_path / "none.mp4"}, RECIPE, tmp_path / "ray", Execution("ray", workers=2)
    )
    assert (on_ray.misses, wrong(on_ray)) == (9, {"missing": {"video": "missing", "audio": "missing"}})
    assert contents(tmp_path / "serial") == contents(tmp_path / "ray")


def test_the_callers_torch_threads_stay_as_they_are(clips: dict[str, Path], tmp_path: Path) -> None:
    before = torch.get_num_threads()
    prepare_clips(clips, RECIPE, tmp_path, SERIAL)
    assert torch.get_num_threads() == before


@pytest.mark.slow
@pytest.mark.parametrize("execution", [SERIAL, TWO], ids=["serial", "processes"])
def test_every_problem_is_named_and_costs_no_more_than_its_modality(
    clips: dict[str, Path], tmp_path: Path, execution: Execution
) -> None:
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    (tmp_path / "empty.mp4").touch()
    faulty = {
        "missing": (tmp_path / "nowhere.mp4", {"video": "missing", "audio": "missing"}),
        "a text": (tmp_path / "page.mp4", UNREADABLE),
        "zero bytes": (tmp_path / "empty.mp4", UNREADABLE),
        "no picture": (make_wav(tmp_path / "sound.wav", sound("sine", 1, 16000), 16000), {"video": "unreadable"}),
        "no audio track": (make_clip(tmp_path / "mute.mp4", audio="none"), {"audio": "no_audio_track"}),
        "silent": (make_clip(tmp_path / "silent.mp4", audio="silent"), {"audio": "silent"}),
        "too short": (make_clip(tmp_path / "short.mp4", audio_seconds=0.005), {"audio": "too_short"}),
    }
    every = {**{key: path for key, (path, _) in faulty.items()}, **clips}
    prepared = prepare_clips(every, RECIPE, tmp_path / "cache", execution)
    assert wrong(prepared) == {key: problems for key, (_, problems) in faulty.items()}
    assert list(prepared.parts) == [key for key in every if key != "missing"]
    for key, part in prepared.parts.items():
        lacking = faulty[key][1] if key in faulty else {}
        assert set(load_part(part)) == {TENSORS[modality][0] for modality in {"video", "audio"} - set(lacking)}
    for key, (path, problems) in faulty.items():
        for modality, problem in problems.items():
            assert prepared.problems[key][modality].message.startswith(f"{path.name}: {in_words(problem)}: ")
    assert (prepared.hits, prepared.misses) == (0, 15)
    again = prepare_clips(every, RECIPE, tmp_path / "cache", SERIAL)
    assert (again.hits, again.misses, wrong(again)) == (14, 1, wrong(prepared))
    assert {found.message for found in again.problems["a text"].values()} == {
        found.message for found in prepared.problems["a text"].values()
    }


@pytest.mark.slow
def test_what_may_pass_is_tried_again(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds=120, fps=1, audio="noise")
    hasty = Execution("processes", workers=1, time_limit_seconds=0.01)
    prepared = prepare_clips({"clip": clip}, RECIPE, tmp_path / "cache", hasty)
    assert wrong(prepared) == {"clip": {"video": "timed_out", "audio": "timed_out"}}
    assert prepared.problems["clip"]["video"].message.startswith("clip.mp4: timed out: not finished after 0.01 s")
    assert prepared.parts == {}
    again = prepare_clips({"clip": clip}, RECIPE, tmp_path / "cache", SERIAL)
    assert (again.misses, again.problems, len(again.parts)) == (1, {}, 1)


def test_problems_survive_in_parts_under_the_name_of_whoever_asks(tmp_path: Path) -> None:
    one = make_clip(tmp_path / "one.mp4", audio="none")
    prepare_clips({"1": one}, RECIPE, tmp_path / "cache", SERIAL)
    renamed = one.rename(tmp_path / "two.mp4")
    again = prepare_clips({"2": renamed}, RECIPE, tmp_path / "cache", SERIAL)
    assert again.hits == 1
    assert again.problems["2"]["audio"].message == "two.mp4: no audio track: its sound is needed"


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc to have a file that cannot be read")
def test_a_file_that_the_disk_does_not_give_is_unreadable(clips: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").symlink_to("/proc/self/mem")
    prepared = prepare_clips({"bad": tmp_path / "bad.mp4", **clips}, RECIPE, tmp_path / "cache", SERIAL)
    assert prepared.problems["bad"]["video"].message.startswith("bad.mp4: unreadable: the file cannot be read (")
    assert len(prepared.parts) == 8


def test_a_twin_of_a_faulty_clip_is_named_by_its_own_name(tmp_path: Path) -> None:
    one = make_clip(tmp_path / "one.mp4", audio="none")
    two = Path(shutil.copyfile(one, tmp_path / "two.mp4"))
    prepared = prepare_clips({"1": one, "2": two}, RECIPE, tmp_path / "cache", SERIAL)
    named = [found["audio"].message.split(":")[0] for found in prepared.problems.values()]
    assert named == ["one.mp4", "two.mp4"]


@pytest.mark.parametrize("kept_bytes", [0, 5, 100, -1])
def test_a_part_that_was_cut_short_is_done_anew(clips: dict[str, Path], tmp_path: Path, kept_bytes: int) -> None:
    first = prepare_clips(clips, RECIPE, tmp_path, SERIAL)
    part = first.parts["dia1utt4"]
    whole = part.read_bytes()
    part.write_bytes(whole[:kept_bytes])
    again = prepare_clips(clips, RECIPE, tmp_path, SERIAL)
    assert (again.hits, again.misses) == (7, 1)
    assert part.read_bytes() == whole


def run_apart(clips: dict[str, Path], cache: Path, execution: Execution) -> subprocess.Popen[str]:
    """A run in a process group of its own, as a terminal would start it."""
    code = (
        "import signal\n"
        # A background process of a script inherits SIGINT ignored; a terminal starts a run that answers it.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from trimood.media.cache import prepare_clips\n"
        "from trimood.media.execution import Execution\n"
        "from trimood.media.recipes import Recipe, VideoRecipe, AudioRecipe\n"
        "if __name__ == '__main__':\n"
        f"    clips = {{key: Path(path) for key, path in { ({k: str(v) for k, v in clips.items()})!r}.items()}}\n"
        f"    prepare_clips(clips, {RECIPE!r}, Path({str(cache)!r}), {execution!r})\n"
    )
    script = cache.parent / "run.py"
    script.write_text(code)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # the modules that are tested here
    return subprocess.Popen(
        [sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True, env=paths
    )


def wait_for_parts(cache: Path, count: int, run: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while len(list(cache.rglob("*.safetensors"))) < count:
        assert run.poll() is None, f"the run ended before it could be stopped: {run.communicate()}"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def processes_of_group(group: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(process.name))
    return found


@pytest.fixture(scope="module")
def many_clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("many")
    return {f"dia2utt{n}": make_clip(folder / f"{n}.mp4", seconds=2, size=(320, 240), seed=n) for n in range(24)}


@pytest.mark.faults
@pytest.mark.parametrize("execution", [SERIAL, TWO], ids=["serial", "processes"])
def test_a_run_that_is_killed_again_and_again_goes_on_where_it_was(
    many_clips: dict[str, Path], tmp_path: Path, execution: Execution
) -> None:
    cache = tmp_path / "cache"
    kept: dict[Path, tuple[int, bytes]] = {}
    for count in (2, 14):
        run = run_apart(many_clips, cache, execution)
        wait_for_parts(cache, max(count, len(kept) + 1), run)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
        deadline = time.monotonic() + 30
        while processes_of_group(run.pid):
            assert time.monotonic() < deadline, "workers outlive the run that was killed"
            time.sleep(0.05)
        now = {path: found for path, found in files(cache).items() if path.suffix == ".safetensors"}
        assert now.items() >= kept.items(), "a finished part was made anew"
        kept = now
    assert 14 <= len(kept) < 24
    (cache / f".half.1.{'0' * 32}.tmp").touch()  # as a killed writer leaves it, if it is caught at the right moment
    for leftover in cache.rglob(".*.tmp"):
        os.utime(leftover, (0, 0))
    again = prepare_clips(many_clips, RECIPE, cache, execution)
    assert (again.hits, again.misses, again.problems) == (len(kept), 24 - len(kept), {})
    assert all(path.suffix == ".safetensors" for path in files(cache))
    prepare_clips(many_clips, RECIPE, tmp_path / "fresh", SERIAL)
    assert parts_of(cache) == parts_of(tmp_path / "fresh")


def parts_of(folder: Path) -> dict[Path, bytes]:
    return {path: content for path, content in contents(folder).items() if path.suffix == ".safetensors"}


@pytest.mark.slow
@pytest.mark.parametrize("execution", [SERIAL, TWO], ids=["serial", "processes"])
def test_an_interrupted_run_leaves_nothing_but_whole_parts(
    many_clips: dict[str, Path], tmp_path: Path, execution: Execution
) -> None:
    cache = tmp_path / "cache"
    run = run_apart(many_clips, cache, execution)
    wait_for_parts(cache, 2, run)
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=300)
    assert run.returncode != 0
    assert err.count("KeyboardInterrupt") == 1, err
    left = contents(cache)
    assert 2 <= len(left) < 24
    assert {path.suffix for path in left} == {".safetensors"}


@pytest.mark.faults
def test_two_runs_at_once_share_their_work(many_clips: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "cache").mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "cache").symlink_to(tmp_path / "cache")
    runs = [run_apart(many_clips, tmp_path / name / "cache", TWO) for name in ("a", "b")]
    for run in runs:
        _, err = run.communicate(timeout=300)
        assert run.returncode == 0, err
    prepare_clips(many_clips, RECIPE, tmp_path / "fresh", SERIAL)
    assert contents(tmp_path / "cache") == contents(tmp_path / "fresh")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.slow
def test_a_killed_worker_costs_one_clip_which_the_next_run_prepares(
    many_clips: dict[str, Path], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    run = run_apart(many_clips, cache, TWO)
    wait_for_parts(cache, 2, run)
    # The run has two children, the fork server and a tracker of resources; workers are the grandchildren.
    grandchildren = [pid for pid in processes_of_group(run.pid) if parent_of(pid) not in (os.getpid(), run.pid)]
    assert len(grandchildren) == 2
    os.kill(grandchildren[0], signal.SIGKILL)
    _, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    finished = len(list(cache.rglob("*.safetensors")))
    assert finished >= 23  # all, where the worker was killed between two clips
    again = prepare_clips(many_clips, RECIPE, cache, SERIAL)
    assert (again.hits, again.misses, again.problems) == (finished, 24 - finished, {})


def test_too_little_space_is_said_before_any_work(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: real._replace(free=300_000))
    with pytest.raises(DiskFull, match=r"cache: about 0\.6 MB are needed .* 0\.3 MB are free.*Make room"):
        prepare_clips(clips, RECIPE, tmp_path / "cache", SERIAL)
    assert not (tmp_path / "cache").exists()
    assert prepare_clips(dict(list(clips.items())[:3]), RECIPE, tmp_path / "cache", SERIAL).misses == 3


@pytest.mark.slow
@pytest.mark.parametrize("execution", [SERIAL, TWO], ids=["serial", "processes"])
def test_a_disk_that_fills_up_while_working_is_said_and_what_is_finished_stays(
    clips: dict[str, Path], small_disk: Path, monkeypatch: pytest.MonkeyPatch, execution: Execution
) -> None:
    (small_disk / "of another program").write_bytes(bytes(100_000))
    # That program takes the space after the estimate: the estimate alone is told of a large disk.
    monkeypatch.setattr("trimood.media.cache.require_space", lambda folder, needed_bytes, what: None)
    cache = small_disk / "cache"
    with pytest.raises(DiskFull, match="Make room there"):
        prepare_clips(clips, RECIPE, cache, execution)
    left = contents(cache)
    assert {path.suffix for path in left} == {".safetensors"}
    assert 1 <= len(left) < 8
    with pytest.raises(DiskFull):
        prepare_clips(clips, RECIPE, cache, execution)
    assert contents(cache).items() >= left.items()
    (small_disk / "of another program").unlink()
    assert prepare_clips(clips, RECIPE, cache, execution).hits >= len(left)


@pytest.mark.slow
def test_hundreds_of_prepared_clips_are_found_by_their_own_bytes(clips: dict[str, Path], tmp_path: Path) -> None:
    part = prepare_clips({"": clips["dia1utt1"]}, RECIPE, tmp_path / "cache", SERIAL).parts[""]
    copies = {str(number): tmp_path / f"{number}.mp4" for number in range(400)}
    for number, copy in enumerate(copies.values()):
        copy.write_bytes(clips["dia1utt1"].read_bytes() + number.to_bytes(4, "big"))
        write_whole(part_path(tmp_path / "cache", RECIPE, content_name(copy)), part.read_bytes())
    found = prepare_clips(copies, RECIPE, tmp_path / "cache", SERIAL)
    assert (found.hits, len(set(found.parts.values()))) == (400, 400)


def test_errors_survive_the_way_between_processes(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(ClipError(tmp_path / "a.mp4", "silent", "nothing")))  # noqa: S301 - made here
    assert (error.problem, str(error)) == ("silent", "a.mp4: silent: nothing")
