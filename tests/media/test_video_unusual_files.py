"""What clips of people look like: every kind that the published corpora and their users' complaints are known for."""

import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from decord import VideoReader

from support.made_media import make_clip, numbered_frame, read_number, turned
from trimood.media.audio import log_mel, read_waveform
from trimood.media.cache import prepare_clips
from trimood.media.errors import ClipError
from trimood.media.execution import Execution
from trimood.media.parts import load_part, write_part
from trimood.media.recipes import AudioRecipe, Recipe, VideoRecipe
from trimood.media.video import fit_frame, frame_indices, read_frames

SMALL = VideoRecipe(frame_count=8, frame_size_pixels=56)
RECIPE = Recipe(SMALL, AudioRecipe(mel_bins=16))


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_pictures_are_turned_as_a_player_and_upstreams_reader_turn_them(tmp_path: Path, degrees: int) -> None:
    plain = make_clip(tmp_path / "plain.mp4", size=(96, 64))
    clip = turned(plain, tmp_path / "turned.mp4", degrees)
    upstream = VideoReader(str(clip), num_threads=1)
    decoded = upstream.get_batch(frame_indices(len(upstream), 8)).asnumpy()
    assert decoded.shape[1:3] == ((96, 64) if degrees in (90, 270) else (64, 96))
    frames = read_frames(clip, SMALL)
    assert torch.equal(frames, torch.stack([fit_frame(torch.from_numpy(frame), 56) for frame in decoded]))
    assert torch.equal(frames, torch.rot90(read_frames(plain, SMALL), -degrees // 90, dims=(2, 3)))
    assert degrees == 0 or not torch.equal(frames, read_frames(plain, SMALL))


def test_frames_of_a_variable_rate_are_taken_by_number_and_not_by_time(tmp_path: Path) -> None:
    # As upstream does: a slow passage of ten frames counts as much as a quick one.
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        track = container.add_stream("libx264", rate=25)
        track.width = track.height = 64
        track.codec_context.time_base = Fraction(1, 1000)
        times_ms = np.cumsum([40] * 10 + [400] * 10 + [13] * 20)
        for number, time_ms in enumerate(times_ms):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, 64, 64), format="rgb24")
            frame.pts, frame.time_base = int(time_ms), Fraction(1, 1000)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    numbers = [read_number(frame.numpy()) for frame in read_frames(tmp_path / "clip.mp4", SMALL)]
    assert numbers == frame_indices(40, 8)
    assert len(VideoReader(str(tmp_path / "clip.mp4"), num_threads=1)) == 40


@pytest.mark.parametrize("size", [(321, 243), (33, 57), (1, 300), (720, 2)])
def test_any_size_gives_a_square_of_the_recipes_size(tmp_path: Path, size: tuple[int, int]) -> None:
    frames = read_frames(make_clip(tmp_path / "clip.mp4", size=size, seconds=0.5), SMALL)
    assert frames.shape == (8, 3, 56, 56)
    if min(size) > 30:
        assert [read_number(frame.numpy()) for frame in frames] == frame_indices(5, 8)


def test_one_frame_is_shown_eight_times(tmp_path: Path) -> None:
    frames = read_frames(make_clip(tmp_path / "clip.mp4", seconds=0.04, fps=25), SMALL)
    assert all(torch.equal(frame, frames[0]) for frame in frames)
    assert read_number(frames[0].numpy()) == 0


@pytest.mark.slow
def test_frames_that_are_announced_and_cannot_be_decoded_are_named_and_leave_the_sound(tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4", seconds=2, audio="noise")
    with av.open(str(whole)) as container:
        last = [packet for packet in container.demux(video=0) if packet.size][-1]
        start, size = last.pos, last.size
    content = bytearray(whole.read_bytes())
    content[start + 4 : start + size] = bytes(size - 4)
    (tmp_path / "clip.mp4").write_bytes(content)
    with pytest.raises(
        ClipError, match=r"^clip\.mp4: unreadable: (frame 20 of its 20 frames|its frames) cannot be decoded"
    ):
        read_frames(tmp_path / "clip.mp4", SMALL)
    problems = write_part(tmp_path / "clip.mp4", tmp_path / "part", RECIPE)
    assert set(problems) == {"video"}
    assert set(load_part(tmp_path / "part")) == {"log_mel"}


@pytest.mark.parametrize(
    ("codec", "rate_hz"),
    [
        ("aac", 8000), ("aac", 16000), ("aac", 22050), ("aac", 44100), ("aac", 48000), ("aac", 96000),
        ("mp3", 16000), ("mp3", 22050), ("mp3", 44100),
        ("flac", 24414), ("flac", 24400),
    ],
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2, pytest.param(6, marks=pytest.mark.slow)])
def test_sound_of_every_codec_rate_and_layout_keeps_its_pitch_and_length(
    tmp_path: Path, codec: str, rate_hz: int, channels: int
) -> None:
    if codec == "mp3" and channels == 6:
        pytest.skip("MP3 has two channels at most")
    clip = make_clip(
        tmp_path / "clip.mp4", 2, sample_rate_hz=rate_hz, channels=channels, tone_hz=1000, audio_codec=codec
    )
    waveform = read_waveform(clip, 16000)
    assert 32000 <= len(waveform) <= 32000 + 3 * 1152 * 16000 / rate_hz
    strongest_hz = int(torch.fft.rfft(waveform).abs().argmax()) * 16000 / len(waveform)
    assert strongest_hz == pytest.approx(1000, abs=1)
    write_part(clip, tmp_path / "part", RECIPE)
    assert load_part(tmp_path / "part")["log_mel"].isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("rate_hz", [16000, 22050, 24414, 44100, 48000])
def test_sound_of_minutes_is_the_same_in_stretches_as_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rate_hz: int
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", 7.3, audio="noise", sample_rate_hz=rate_hz, audio_codec="flac")
    at_once = read_waveform(clip, 16000)
    energies = log_mel(at_once, AudioRecipe())
    monkeypatch.setattr("trimood.media.audio.STRETCH_SECONDS", 1)
    in_stretches = read_waveform(clip, 16000)
    assert len(in_stretches) == len(at_once)
    torch.testing.assert_close(in_stretches, at_once, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_mel(at_once, AudioRecipe()), energies, atol=1e-5, rtol=0)
    assert energies.shape[0] > 5 * 100, "a clip of less than five stretches would prove little"


MEASURE = """
import json, sys
from pathlib import Path
import torch
from trimood.media.recipes import Recipe
from trimood.media.parts import write_part
torch.set_num_threads(1)
for clip in sys.argv[1:]:
    problems = write_part(Path(clip), Path(clip).with_suffix(".part"), Recipe())
    # Not getrusage, whose peak a process takes over from the one that starts it.
    peak_kb = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
    print(json.dumps([sorted(problems), int(peak_kb) / 1024]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc to know the memory that was used")
def test_a_clip_of_five_minutes_takes_little_more_memory_than_one_of_seconds(tmp_path: Path) -> None:
    size = (160, 120)
    short = make_clip(tmp_path / "short.mp4", 3, 2, size, "noise", channels=2)
    long = make_clip(tmp_path / "long.mp4", 300, 2, size, "noise", channels=2)
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    said = subprocess.run(
        [sys.executable, "-c", MEASURE, short, long], env=paths, check=True, capture_output=True, text=True
    ).stdout
    (no_problems, short_mb), (_, long_mb) = (json.loads(line) for line in said.splitlines())
    assert no_problems == []
    assert load_part(long.with_suffix(".part"))["log_mel"].shape[0] >= 29_998
    # The decoded sound alone is 115 MB at its own rate. Its mel is 13 MB, the waveform at 16 kHz 19 MB.
    assert 20 < long_mb - short_mb < 160, (short_mb, long_mb)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tag", "hint", "lacking", "kept"),
    [(b"avc1", b"avc1", "video", "log_mel"), (b"mp4a", b"\x40\x15", "audio", "frames")],
)
def test_a_codec_that_nobody_knows_costs_one_track_of_one_clip(
    tmp_path: Path, tag: bytes, hint: bytes, lacking: str, kept: str
) -> None:
    good = make_clip(tmp_path / "good.mp4")
    strange = tmp_path / "strange.mp4"
    # The sound's description says AAC a second time: 0x40 is its MPEG-4 object type (ISO 14496-1, table 5).
    strange.write_bytes(good.read_bytes().replace(tag, b"zzzz").replace(hint, b"\xee\x15"))
    assert strange.read_bytes() != good.read_bytes()
    clips = {"strange": strange, "good": good}
    for executor in ("serial", "processes"):
        done = prepare_clips(clips, RECIPE, tmp_path / executor, Execution(executor, 1))
        assert list(done.problems) == ["strange"]
        assert {m: e.problem for m, e in done.problems["strange"].items()} == {lacking: "unreadable"}
        assert "FFmpeg does not know the codec of its " in str(done.problems["strange"][lacking])
        assert list(load_part(done.parts["strange"])) == [kept]
        assert set(load_part(done.parts["good"])) == {"frames", "log_mel"}
