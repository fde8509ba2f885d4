"""`reader: decord` gives the frames that the published experiments had, and says plainly what decord cannot read."""

import pickle
import re
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from decord import VideoReader, cpu

from support.made_media import cut_by_copying, make_clip, numbered_clip, turned, with_index_in_front
from support.shared_data import SHARED, needs_shared
from trimood.media.cache import prepare_clips
from trimood.media.errors import ClipError, PreparationError
from trimood.media.execution import Execution
from trimood.media.parts import load_part
from trimood.media.probe import probe_clip
from trimood.media.recipes import Recipe, VideoRecipe
from trimood.media.video import fit_frame, read_frames

DECORD = VideoRecipe(8, 56, "decord")


def upstream_frames(clip: Path) -> torch.Tensor:
    """The calls of LanguageBind's `load_and_transform_video`, then our fitting, which is held against its own."""
    reader = VideoReader(str(clip), ctx=cpu(0))
    decoded = reader.get_batch(np.linspace(0, len(reader) - 1, 8, dtype=int)).asnumpy()
    return torch.stack([fit_frame(torch.from_numpy(frame), 56) for frame in decoded])


@pytest.mark.parametrize("size", [(64, 64), (96, 54), (50, 90)])
@pytest.mark.parametrize("seconds", [0.1, 0.7, 3])
def test_frames_are_upstreams_to_the_bit(size: tuple[int, int], seconds: float, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.mp4", seconds, size=size)
    assert torch.equal(read_frames(clip, DECORD), upstream_frames(clip))


def test_frames_of_a_phone_held_upright_are_upstreams_to_the_bit(tmp_path: Path) -> None:
    clip = turned(make_clip(tmp_path / "lying.mp4", size=(96, 54)), tmp_path / "upright.mp4", 90)
    assert torch.equal(read_frames(clip, DECORD), upstream_frames(clip))


def test_what_decord_misreads_is_misread_as_upstream_did(tmp_path: Path) -> None:
    whole = numbered_clip(tmp_path / "whole.mp4", 100, {"g": "50"})
    clip = cut_by_copying(whole, tmp_path / "cut.mp4", from_seconds=Fraction(30, 25))
    frames = read_frames(clip, DECORD)
    assert torch.equal(frames, upstream_frames(clip))
    assert not torch.equal(frames, read_frames(clip, VideoRecipe(8, 56))), "both readers agree: this proves nothing"


@pytest.mark.slow
@needs_shared
def test_frames_of_real_clips_are_upstreams_to_the_bit() -> None:
    assert SHARED is not None
    clips = sorted((SHARED / "media/ravdess_ecf/train").glob("*.mp4"))[::20]
    clips += sorted((SHARED / "media/languagebind_assets/video").glob("*.mp4"))
    assert len(clips) > 3
    for clip in clips:
        assert torch.equal(read_frames(clip, DECORD), upstream_frames(clip)), clip.name


def cut_short(path: Path) -> None:
    whole = make_clip(path.with_name("whole.mp4"), audio="none")
    content = with_index_in_front(whole, path.with_name("front.mp4")).read_bytes()
    path.write_bytes(content[: int(0.9 * len(content))])


def sound_alone(path: Path) -> None:
    with av.open(str(path), "w") as container:
        track = container.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux([*track.encode(frame), *track.encode(None)])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (cut_short, r"decord cannot read its frames \(Error: av_read_frame failed with \d+\)"),
        (sound_alone, r"decord cannot read its frames \(Check failed: st_nb >= 0 .* cannot find video stream .*\)"),
        (lambda path: path.write_text("<html>404</html>" * 100), r"its frames cannot be decoded \(Invalid data .*\)"),
        (lambda path: path.write_bytes(b""), r"its frames cannot be decoded \(Invalid data .*\)"),
    ],
)
def test_a_clip_that_decord_cannot_read_is_unreadable_in_its_own_words(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    make(tmp_path / "clip.mp4")
    with pytest.raises(ClipError) as caught:
        read_frames(tmp_path / "clip.mp4", DECORD)
    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - as it comes back from a worker
    assert error.problem == "unreadable"
    assert re.fullmatch(words, error.detail), error.detail


def test_a_missing_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"^gone\.mp4: missing: no such file in "):
        read_frames(tmp_path / "gone.mp4", DECORD)


@pytest.mark.slow
def test_workers_prepare_clips_with_decord_beside_the_parts_of_pyav(tmp_path: Path) -> None:
    clips = {"good": make_clip(tmp_path / "good.mp4"), "bad": tmp_path / "bad.mp4"}
    cut_short(clips["bad"])
    cache, where = tmp_path / "cache", Execution("processes", workers=1)
    before = prepare_clips({"good": clips["good"]}, Recipe(VideoRecipe(8, 56)), cache, where)
    done = prepare_clips(clips, Recipe(DECORD), cache, where)
    assert (done.hits, done.misses) == (0, 2)
    assert done.parts["good"] != before.parts["good"]
    assert torch.equal(load_part(done.parts["good"])["frames"], upstream_frames(clips["good"]))
    assert done.problems["bad"]["video"].detail.startswith("decord cannot read its frames")
    again = prepare_clips(clips, Recipe(DECORD), cache, where)
    assert (again.hits, again.misses) == (2, 0)


def test_without_decord_the_work_ends_and_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "decord", None)
    assert len(read_frames(clip, VideoRecipe(8, 56))) == 8
    words = r"data\.clips\.reader is decord, .*: pip install 'trimood\[decord\]', or choose pyav\."
    with pytest.raises(PreparationError, match=words):
        prepare_clips({"clip": clip}, Recipe(DECORD), tmp_path / "cache", Execution("serial"))
    with pytest.raises(PreparationError, match=words):
        probe_clip((clip, "decord", "mean"))
    assert not list(tmp_path.rglob("*.safetensors"))


def test_each_reader_has_its_own_findings(tmp_path: Path) -> None:
    cut_short(tmp_path / "clip.mp4")
    with_pyav = probe_clip((tmp_path / "clip.mp4", "pyav", "mean"))[0]
    with_decord = probe_clip((tmp_path / "clip.mp4", "decord", "mean"))[0]
    assert with_decord.video_detail != with_pyav.video_detail
    assert str(with_decord.video_detail).startswith("decord cannot read its frames")
