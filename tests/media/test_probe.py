import errno
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from support.made_media import Sound, make_clip, make_wav, numbered_frame, sound
from support.shared_data import SHARED, needs_shared
from trimood.media.errors import ClipError
from trimood.media.facts import ClipFacts, failed
from trimood.media.probe import QUIETEST_DBFS, first_picture, probe_clip


def facts_of(clip: Path) -> ClipFacts:
    return probe_clip((clip, "pyav", "mean"))[0]


def problems(facts: ClipFacts) -> tuple[str | None, str | None]:
    return facts.video_problem, facts.audio_problem


def timed_clip(path: Path, times: list[int], ticks_a_second: int = 100) -> Path:
    """A clip without sound whose frames are shown at the given ticks."""
    tick = Fraction(1, ticks_a_second)
    with av.open(str(path), "w", format="mp4") as container:
        track = container.add_stream("libx264", rate=ticks_a_second, options={"preset": "ultrafast", "bf": "0"})
        track.width = track.height = 64
        track.pix_fmt, track.time_base, track.codec_context.time_base = "yuv420p", tick, tick
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, 64, 64), format="rgb24")
            frame.pts, frame.time_base = time, tick
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def test_a_good_clip_is_described_by_what_it_was_made_of(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "c.mp4", 2.0, 12, (96, 64), sample_rate_hz=44100, channels=2)
    facts = facts_of(clip)
    assert problems(facts) == (None, None)
    expected = {
        "video_codec": "h264",
        "audio_codec": "aac",
        "frame_count": 24,
        "video_seconds": 2.0,
        "frames_per_second": 12.0,
        "variable_frame_rate": False,
        "width": 96,
        "height": 64,
        "rotation_degrees": 0,
        "sample_rate_hz": 44100,
        "channels": 2,
        "size_bytes": clip.stat().st_size,
    }
    assert {name: asdict(facts)[name] for name in expected} == expected
    assert facts.audio_seconds == pytest.approx(2.0, abs=0.05)  # an AAC block at each end
    # A tone at half of full scale peaks at -6.0 dB and has a root mean square 3.0 dB below.
    assert facts.peak_dbfs == pytest.approx(-6.0, abs=0.6)
    assert facts.loudness_dbfs == pytest.approx(-9.0, abs=0.6)


@pytest.mark.parametrize(("audio", "found"), [("none", "no_audio_track"), ("silent", "silent")])
def test_a_clip_without_usable_sound_keeps_its_pictures(tmp_path: Path, audio: Sound, found: str) -> None:
    facts = facts_of(make_clip(tmp_path / "c.mp4", audio=audio))
    assert problems(facts) == (None, found)
    assert facts.frame_count == 10
    assert facts.peak_dbfs == (QUIETEST_DBFS if found == "silent" else None)


def test_sound_alone_has_no_pictures(tmp_path: Path) -> None:
    facts = facts_of(make_wav(tmp_path / "c.wav", sound("sine", 1.0, 16000), 16000))
    assert problems(facts) == ("unreadable", None)
    assert facts.video_detail == "it has no video track"
    assert (facts.frame_count, facts.sample_rate_hz, facts.audio_seconds) == (None, 16000, 1.0)


def test_sound_of_less_than_a_window_is_too_short(tmp_path: Path) -> None:
    facts = facts_of(make_wav(tmp_path / "c.wav", sound("sine", 0.02, 16000), 16000))
    assert facts.audio_problem == "too_short"
    assert facts.audio_seconds == 0.02


@pytest.mark.parametrize("content", [b"", b"404 not found", bytes(range(256)) * 40])
def test_a_file_that_is_no_clip_is_a_finding_and_no_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c.mp4").write_bytes(content)
    facts = facts_of(tmp_path / "c.mp4")
    assert problems(facts) == ("unreadable", "unreadable")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_clip_cut_off_anywhere_is_a_finding_and_no_error(tmp_path: Path, share: float) -> None:
    whole = make_clip(tmp_path / "whole.mp4", 3.0).read_bytes()
    (tmp_path / "c.mp4").write_bytes(whole[: int(len(whole) * share)])
    assert problems(facts_of(tmp_path / "c.mp4")) == ("unreadable", "unreadable")


def test_uneven_frame_times_are_told_from_even_ones(tmp_path: Path) -> None:
    even = facts_of(timed_clip(tmp_path / "even.mp4", [0, 10, 20, 30, 40]))
    uneven = facts_of(timed_clip(tmp_path / "uneven.mp4", [0, 10, 50, 60, 90]))
    assert (even.variable_frame_rate, uneven.variable_frame_rate) == (False, True)
    assert (even.frames_per_second, even.video_seconds) == (10.0, 0.5)


def test_frames_that_the_clock_rounds_count_as_even(tmp_path: Path) -> None:
    times = [round(number * 1000 / 24) for number in range(24)]  # 41 or 42 milliseconds apart
    assert len(set(np.diff(times))) == 2
    assert facts_of(timed_clip(tmp_path / "c.mp4", times, 1000)).variable_frame_rate is False


def test_one_frame_has_no_duration_and_no_rate(tmp_path: Path) -> None:
    facts = facts_of(timed_clip(tmp_path / "c.mp4", [0]))
    assert (facts.frame_count, facts.video_seconds, facts.frames_per_second) == (1, None, None)
    assert facts.video_problem is None


def test_a_rotation_flag_is_seen(tmp_path: Path) -> None:
    upright, turned = make_clip(tmp_path / "upright.mp4"), tmp_path / "turned.mp4"
    with av.open(str(upright)) as source, av.open(str(turned), "w") as target:
        track = target.add_stream_from_template(source.streams.video[0])
        track.set_display_rotation(90)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = track
                target.mux(packet)
    assert facts_of(turned).rotation_degrees in (90, 270)
    assert facts_of(upright).rotation_degrees == 0


def test_a_disk_that_fails_for_a_moment_is_no_fact_of_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = make_clip(tmp_path / "clip.mp4")

    def fail(path: Path, recipe: object) -> None:
        try:
            raise OSError(errno.EIO, "Input/output error")
        except OSError as error:
            raise ClipError(path, "unreadable", "its frames cannot be decoded") from error

    with monkeypatch.context() as moment:
        moment.setattr("trimood.media.probe.read_frames", fail)
        facts, lasting = probe_clip((clip, "pyav", "mean"))
    assert (facts.video_problem, lasting) == ("unreadable", False)
    facts, lasting = probe_clip((clip, "pyav", "mean"))
    assert (facts.video_problem, lasting) == (None, True)


def test_a_clip_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"gone\.mp4: missing: no such file") as caught:
        probe_clip((tmp_path / "gone.mp4", "pyav", "mean"))
    facts = failed(caught.value)
    assert problems(facts) == ("missing", "missing")


def test_a_picture_is_the_first_frame_in_its_own_shape(tmp_path: Path) -> None:
    picture = first_picture(make_clip(tmp_path / "c.mp4", size=(320, 160)))
    assert picture.shape == (160, 320, 3)
    (tmp_path / "no.mp4").write_text("no")
    with pytest.raises(ClipError, match=r"no\.mp4: unreadable: no frame of it"):
        first_picture(tmp_path / "no.mp4")


@pytest.mark.slow
@needs_shared
def test_every_real_clip_is_good_and_described() -> None:
    clips = sorted(((SHARED or Path()) / "media" / "ravdess_ecf" / "train").glob("*.mp4"))[:12]
    found: list[dict[str, Any]] = [asdict(facts_of(clip)) for clip in clips]
    assert len(found) == 12
    for facts in found:
        assert facts["video_problem"] is facts["audio_problem"] is None
        assert (facts["width"], facts["height"], facts["sample_rate_hz"]) == (224, 224, 48000)
        assert abs(facts["video_seconds"] - facts["audio_seconds"]) < 0.2
        assert -60 < facts["loudness_dbfs"] < facts["peak_dbfs"] < 0
