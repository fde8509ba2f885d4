import ctypes
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from made_media import make_clip
from trimood.media.audio import AudioRecipe, log_mel, read_waveform
from trimood.media.cache import Recipe, load_part, prepare_clips
from trimood.media.errors import PROBLEMS, ClipError, DiskFull, PreparationError
from trimood.media.parts import content_name, part_path, write_whole
from trimood.media.video import VideoRecipe, read_frames

RECIPE = Recipe(VideoRecipe(frame_count=4, frame_size_pixels=32), AudioRecipe(mel_bins=16))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {f"dia1utt{n}": make_clip(folder / f"dia1utt{n}.mp4", seconds=0.5, seed=n) for n in range(1, 9)}


def files(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def contents(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): content for path, (_, content) in files(folder).items()}


def test_a_part_holds_the_frames_and_the_whole_log_mel(clips: dict[str, Path], tmp_path: Path) -> None:
    prepared = prepare_clips(clips, RECIPE, tmp_path, workers=0)
    assert list(prepared.parts) == list(clips)
    assert (prepared.hits, prepared.misses, prepared.problems) == (0, 8, {})
    for key, clip in clips.items():
        part = load_part(prepared.parts[key])
        assert set(part) == {"frames", "log_mel"}
        assert torch.equal(part["frames"], read_frames(clip, RECIPE.video))
        torch.testing.assert_close(part["log_mel"], log_mel(read_waveform(clip, 16000), RECIPE.audio))
    assert len(set(prepared.parts.values())) == 8


def test_an_unchanged_run_decodes_nothing(
    clips: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first = prepare_clips(clips, RECIPE, tmp_path, workers=0)
    assert "misses=8" in capfd.readouterr().err
    before = files(tmp_path)
    again = prepare_clips(clips, RECIPE, tmp_path, workers=2)
    assert (again.hits, again.misses, again.parts) == (8, 0, first.parts)
    assert files(tmp_path) == before
    assert capfd.readouterr().err == ""


def test_a_clip_is_known_by_its_bytes_and_not_by_its_name_or_date(clips: dict[str, Path], tmp_path: Path) -> None:
    first = prepare_clips(clips, RECIPE, tmp_path / "cache", workers=0)
    moved = {f"moved {key}": shutil.copyfile(clip, tmp_path / f"{key}.mp4") for key, clip in clips.items()}
    again = prepare_clips(moved, RECIPE, tmp_path / "cache", workers=0)
    assert (again.hits, again.misses) == (8, 0)
    assert again.parts["moved dia1utt3"] == first.parts["dia1utt3"]


def test_clips_of_the_same_bytes_are_prepared_once(clips: dict[str, Path], tmp_path: Path) -> None:
    twin = Path(shutil.copyfile(clips["dia1utt1"], tmp_path / "dia9utt1.mp4"))
    prepared = prepare_clips({"a": clips["dia1utt1"], "b": twin, "c": twin}, RECIPE, tmp_path / "cache", workers=0)
    assert len(set(prepared.parts.values())) == 1
    assert len(contents(tmp_path / "cache")) == 1
    assert (prepared.hits, prepared.misses) == (0, 3)


@pytest.mark.parametrize(
    "other",
    [
        Recipe(VideoRecipe(frame_count=5, frame_size_pixels=32), RECIPE.audio),
        Recipe(VideoRecipe(frame_count=4, frame_size_pixels=40), RECIPE.audio),
        Recipe(RECIPE.video, AudioRecipe(mel_bins=20)),
        Recipe(RECIPE.video, AudioRecipe(mel_bins=16, sample_rate_hz=8000)),
    ],
)
def test_any_change_of_the_recipe_prepares_anew_and_keeps_what_was(
    clips: dict[str, Path], tmp_path: Path, other: Recipe
) -> None:
    clips = dict(list(clips.items())[:2])
    first = prepare_clips(clips, RECIPE, tmp_path, workers=0)
    second = prepare_clips(clips, other, tmp_path, workers=0)
    assert (second.hits, second.misses) == (0, 2)
    assert set(first.parts.values()).isdisjoint(second.parts.values())
    assert prepare_clips(clips, RECIPE, tmp_path, workers=0).hits == 2


def test_two_workers_give_the_same_bytes_as_none(
    clips: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prepare_clips(clips, RECIPE, tmp_path / "serial", workers=0)
    assert prepare_clips(clips, RECIPE, tmp_path / "parallel", workers=2).misses == 8
    assert contents(tmp_path / "serial") == contents(tmp_path / "parallel")
    assert len(contents(tmp_path / "serial")) == 8
    captured = capfd.readouterr()
    assert captured.out == ""
    assert {line.split(":")[0].strip() for line in captured.err.replace("\r", "\n").split("\n")} == {
        "",
        "preparing clips",
    }


def test_the_callers_torch_threads_stay_as_they_are(clips: dict[str, Path], tmp_path: Path) -> None:
    before = torch.get_num_threads()
    prepare_clips(clips, RECIPE, tmp_path, workers=1)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("workers", [0, 2])
def test_every_problem_is_named_and_the_other_clips_are_prepared(
    clips: dict[str, Path], tmp_path: Path, workers: int
) -> None:
    (tmp_path / "page.mp4").write_text("<html>404</html>" * 100)
    faulty = {
        "missing": tmp_path / "nowhere.mp4",
        "unreadable": tmp_path / "page.mp4",
        "no audio track": make_clip(tmp_path / "mute.mp4", audio="none"),
        "silent": make_clip(tmp_path / "silent.mp4", audio="silent"),
        "too short": make_clip(tmp_path / "short.mp4", audio_seconds=0.005),
    }
    assert {*faulty, "timed out", "crashed"} == set(PROBLEMS)
    prepared = prepare_clips({**faulty, **clips}, RECIPE, tmp_path / "cache", workers)
    assert list(prepared.parts) == list(clips)
    assert {key: error.problem for key, error in prepared.problems.items()} == {key: key for key in faulty}
    for key, path in faulty.items():
        assert prepared.problems[key].message.startswith(f"{path.name}: {key}: ")
    assert (prepared.hits, prepared.misses) == (0, 13)
    again = prepare_clips({**faulty, **clips}, RECIPE, tmp_path / "cache", workers=0)
    assert (again.hits, again.misses, len(again.problems)) == (8, 5, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc to have a file that cannot be read")
def test_a_file_that_the_disk_does_not_give_is_unreadable(clips: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").symlink_to("/proc/self/mem")
    prepared = prepare_clips({"bad": tmp_path / "bad.mp4", **clips}, RECIPE, tmp_path / "cache", workers=0)
    assert prepared.problems["bad"].message.startswith("bad.mp4: unreadable: the file cannot be read (")
    assert len(prepared.parts) == 8


def test_a_twin_of_a_faulty_clip_is_named_by_its_own_name(tmp_path: Path) -> None:
    one = make_clip(tmp_path / "one.mp4", audio="none")
    two = Path(shutil.copyfile(one, tmp_path / "two.mp4"))
    prepared = prepare_clips({"1": one, "2": two}, RECIPE, tmp_path / "cache", workers=0)
    assert [error.message.split(":")[0] for error in prepared.problems.values()] == ["one.mp4", "two.mp4"]


@pytest.mark.parametrize("kept_bytes", [0, 5, 100, -1])
def test_a_part_that_was_cut_short_is_done_anew(clips: dict[str, Path], tmp_path: Path, kept_bytes: int) -> None:
    first = prepare_clips(clips, RECIPE, tmp_path, workers=0)
    part = first.parts["dia1utt4"]
    whole = part.read_bytes()
    part.write_bytes(whole[:kept_bytes])
    again = prepare_clips(clips, RECIPE, tmp_path, workers=0)
    assert (again.hits, again.misses) == (7, 1)
    assert part.read_bytes() == whole


def run_apart(clips: dict[str, Path], cache: Path, workers: int) -> subprocess.Popen[str]:
    """A run in a process group of its own, as a terminal would start it."""
    code = (
        "from pathlib import Path\n"
        "from trimood.media.cache import prepare_clips\n"
        "from trimood.media.parts import Recipe, VideoRecipe, AudioRecipe\n"
        "if __name__ == '__main__':\n"
        f"    clips = {{key: Path(path) for key, path in { ({k: str(v) for k, v in clips.items()})!r}.items()}}\n"
        f"    prepare_clips(clips, {RECIPE!r}, Path({str(cache)!r}), {workers})\n"
    )
    script = cache.parent / "run.py"
    script.write_text(code)
    return subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE, text=True, start_new_session=True)


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


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on_where_it_was(many_clips: dict[str, Path], tmp_path: Path, workers: int) -> None:
    cache = tmp_path / "cache"
    run = run_apart(many_clips, cache, workers)
    wait_for_parts(cache, 3, run)
    os.kill(run.pid, signal.SIGKILL)
    run.communicate()
    deadline = time.monotonic() + 30
    while processes_of_group(run.pid):
        assert time.monotonic() < deadline, "workers outlive the run that was killed"
        time.sleep(0.05)
    finished = len(list(cache.rglob("*.safetensors")))
    assert 3 <= finished < 24
    again = prepare_clips(many_clips, RECIPE, cache, workers)
    assert (again.hits, again.misses, again.problems) == (finished, 24 - finished, {})
    prepare_clips(many_clips, RECIPE, tmp_path / "fresh", workers=0)
    assert parts_of(cache) == parts_of(tmp_path / "fresh")


def parts_of(folder: Path) -> dict[Path, bytes]:
    return {path: content for path, content in contents(folder).items() if path.suffix == ".safetensors"}


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_run_leaves_nothing_but_whole_parts(
    many_clips: dict[str, Path], tmp_path: Path, workers: int
) -> None:
    cache = tmp_path / "cache"
    run = run_apart(many_clips, cache, workers)
    wait_for_parts(cache, 2, run)
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=60)
    assert run.returncode != 0
    assert err.count("KeyboardInterrupt") == 1, err
    left = contents(cache)
    assert 2 <= len(left) < 24
    assert {path.suffix for path in left} == {".safetensors"}


def test_two_runs_at_once_share_their_work(many_clips: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "cache").mkdir()
    for name in ("a", "b"):
        (tmp_path / name / "cache").symlink_to(tmp_path / "cache")
    runs = [run_apart(many_clips, tmp_path / name / "cache", 0) for name in ("a", "b")]
    for run in runs:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    prepare_clips(many_clips, RECIPE, tmp_path / "fresh", workers=0)
    assert contents(tmp_path / "cache") == contents(tmp_path / "fresh")


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_worker_is_said_and_what_is_finished_stays(many_clips: dict[str, Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run = run_apart(many_clips, cache, 2)
    wait_for_parts(cache, 2, run)
    # The run has two children, the fork server and a tracker of resources; workers are the grandchildren.
    grandchildren = [pid for pid in processes_of_group(run.pid) if parent_of(pid) not in (os.getpid(), run.pid)]
    assert len(grandchildren) == 2
    os.kill(grandchildren[0], signal.SIGKILL)
    _, err = run.communicate(timeout=60)
    assert run.returncode == 1
    assert f"{PreparationError.__name__}: a worker process died" in err
    assert "Finished parts are kept" in err
    finished = len(list(cache.rglob("*.safetensors")))
    assert prepare_clips(many_clips, RECIPE, cache, workers=0).hits == finished >= 2


def test_too_little_space_is_said_before_any_work(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: real._replace(free=300_000))
    needed = 8 * (4 * 3 * 32 * 32 + 16 * 1000 * 4)
    with pytest.raises(DiskFull, match=r"cache: about 0\.6 MB are needed .* 0\.3 MB are free.*Make room") as caught:
        prepare_clips(clips, RECIPE, tmp_path / "cache", workers=0)
    assert (caught.value.needed_bytes, caught.value.free_bytes) == (needed, 300_000)
    assert not (tmp_path / "cache").exists()
    assert prepare_clips(dict(list(clips.items())[:3]), RECIPE, tmp_path / "cache", workers=0).misses == 3


def mount_small_disk(folder: Path, size_bytes: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.mount(b"tmpfs", bytes(folder), b"tmpfs", 0, f"size={size_bytes}".encode()) == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_disk_that_fills_up_while_working_is_said_and_what_is_finished_stays(
    clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    if not mount_small_disk(cache, 80_000):
        pytest.skip("no right to mount a small disk here: a disk that fills up is NOT checked")
    try:
        # Another program takes the space after the estimate: the estimate alone is told of a large disk.
        monkeypatch.setattr("trimood.media.cache._require_space", lambda cache, needed_bytes: None)
        with pytest.raises(DiskFull, match="Make room there") as caught:
            prepare_clips(clips, RECIPE, cache, workers)
        assert caught.value.free_bytes < caught.value.needed_bytes
        left = contents(cache)
        assert {path.suffix for path in left} == {".safetensors"}
        assert 1 <= len(left) < 8
        with pytest.raises(DiskFull):
            prepare_clips(clips, RECIPE, cache, workers)
        assert contents(cache).items() >= left.items()
    finally:
        ctypes.CDLL(None).umount(bytes(cache))


def test_hundreds_of_prepared_clips_are_found_at_once(clips: dict[str, Path], tmp_path: Path) -> None:
    part = prepare_clips({"": clips["dia1utt1"]}, RECIPE, tmp_path / "cache", workers=0).parts[""]
    copies = {str(number): tmp_path / f"{number}.mp4" for number in range(400)}
    for number, copy in enumerate(copies.values()):
        copy.write_bytes(clips["dia1utt1"].read_bytes() + number.to_bytes(4, "big"))
        write_whole(part_path(tmp_path / "cache", RECIPE, content_name(copy)), part.read_bytes())
    start = time.monotonic()
    assert prepare_clips(copies, RECIPE, tmp_path / "cache", workers=0).hits == 400
    assert time.monotonic() - start < 2


def test_errors_survive_the_way_between_processes(tmp_path: Path) -> None:
    error = pickle.loads(pickle.dumps(ClipError(tmp_path / "a.mp4", "silent", "nothing")))  # noqa: S301 - made here
    assert (error.problem, str(error)) == ("silent", "a.mp4: silent: nothing")
    full = pickle.loads(pickle.dumps(DiskFull(tmp_path, 5_000_000, 1_000_000)))  # noqa: S301 - made here
    assert "5.0 MB are needed" in str(full)
