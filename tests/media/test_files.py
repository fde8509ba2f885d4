"""Only files that hold their own pictures and sound are opened."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from decord import VideoReader

from support.made_media import make_clip, make_wav, numbered_frame, read_number
from trimood.config.parameters import Reader
from trimood.media.audio import read_waveform
from trimood.media.cache import prepare_clips
from trimood.media.errors import ClipError
from trimood.media.execution import Execution
from trimood.media.files import open_media
from trimood.media.probe import probe_clip
from trimood.media.recipes import Recipe, VideoRecipe
from trimood.media.video import read_frames

LISTS = {
    "concat": "ffconcat version 1.0\nfile secret.mp4\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
}


@pytest.mark.parametrize("reader", ["pyav", "decord"])
@pytest.mark.parametrize("kind", LISTS)
def test_what_a_list_of_files_names_is_never_opened(tmp_path: Path, kind: str, reader: Reader) -> None:
    make_clip(tmp_path / "secret.mp4")
    clip = tmp_path / ("clip.m3u8" if kind == "HLS" else "clip.mp4")  # FFmpeg itself wants this name of HLS
    clip.write_text(LISTS[kind])
    words = r"clip\.(mp4|m3u8): unreadable: its .* cannot be decoded \(unsupported format; supported are mov, "
    with pytest.raises(ClipError, match=words):
        read_frames(clip, VideoRecipe(reader=reader))
    with pytest.raises(ClipError, match=words):
        read_waveform(clip, 16000)


def test_decord_itself_would_open_what_a_list_names(tmp_path: Path) -> None:
    make_clip(tmp_path / "secret.mp4")
    (tmp_path / "clip.m3u8").write_text(LISTS["HLS"])
    assert len(VideoReader(str(tmp_path / "clip.m3u8"))) == 10


@pytest.mark.parametrize(("form", "name"), [("mp4", "mov"), ("matroska", "matroska"), ("mpegts", "mpegts")])
def test_a_clip_may_be_of_any_usual_format(tmp_path: Path, form: str, name: str) -> None:
    clip = make_clip(tmp_path / "clip.mp4", audio_codec="mp2" if form == "mpegts" else "aac")
    other = tmp_path / "other"  # by its content, not by its name
    with av.open(str(clip)) as source, av.open(str(other), "w", format=form) as target:
        tracks = {
            track: target.add_stream_from_template(track) for track in (*source.streams.video, *source.streams.audio)
        }
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = tracks[packet.stream]
                target.mux(packet)
    with open_media(other) as container:
        assert name in container.format.name
    assert len(read_frames(other, VideoRecipe())) == 8
    assert len(read_waveform(other, 16000)) > 0


def test_a_name_is_never_taken_for_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_clip(tmp_path / "12:30.mp4")
    monkeypatch.chdir(tmp_path)
    assert len(read_frames(Path("12:30.mp4"), VideoRecipe())) == 8


def test_a_name_that_no_file_can_have_costs_only_itself(tmp_path: Path) -> None:
    clips = {"good": make_clip(tmp_path / "good.mp4"), "bad": tmp_path / ("n" * 300 + ".mp4")}
    prepared = prepare_clips(clips, Recipe(), tmp_path / "cache", Execution("serial"))
    assert list(prepared.parts) == ["good"]
    assert prepared.problems["bad"]["video"].problem == "unreadable"


@pytest.mark.parametrize("rate_hz", [5, 3999, 10_000_019])
def test_a_rate_that_only_a_broken_header_has_is_unreadable(tmp_path: Path, rate_hz: int) -> None:
    wav = make_wav(tmp_path / "sound.wav", np.full((1, 16000), 0.5, dtype=np.float32), 16000)
    content = bytearray(wav.read_bytes())
    content[24:28] = rate_hz.to_bytes(4, "little")
    wav.write_bytes(content)
    with pytest.raises(ClipError, match=rf"unreadable: .*its rate is {rate_hz} Hz; allowed: 4000 to 1000000 Hz"):
        read_waveform(wav, 16000)


def test_sound_far_beyond_its_scale_is_unreadable(tmp_path: Path) -> None:
    wav = make_wav(tmp_path / "sound.wav", np.full((1, 16000), 1e30, dtype=np.float32), 16000, "pcm_f32le")
    with pytest.raises(ClipError, match="its sound has samples that are not finite, or far beyond"):
        read_waveform(wav, 16000)


def test_a_strip_is_not_scaled_to_gigabytes(tmp_path: Path) -> None:
    make_clip(tmp_path / "strip.mp4", size=(2048, 2))
    with pytest.raises(
        ClipError, match=r"unreadable: .*it has 2048x2 pixels: one side is more than 500 times the other"
    ):
        read_frames(tmp_path / "strip.mp4", VideoRecipe())


def test_dropped_frames_of_an_avi_are_not_missing_ones(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "clip.avi"), "w") as container:
        track = container.add_stream("mjpeg", rate=25)
        track.width, track.height, track.pix_fmt = 64, 64, "yuvj420p"
        for number in range(20):
            frame = av.VideoFrame.from_ndarray(numbered_frame(number, 64, 64), format="rgb24")
            frame.pts, frame.time_base = 3 * number, Fraction(1, 25)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    assert [read_number(frame.numpy()) for frame in read_frames(tmp_path / "clip.avi", VideoRecipe(2, 64))] == [0, 19]


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "song.flac"), "w") as target:
        sound = target.add_stream("flac", rate=16000, layout="mono")
        cover = target.add_stream("png")
        cover.width, cover.height, cover.pix_fmt = 64, 64, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        target.mux(cover.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), dtype=np.uint8), format="rgb24")))
        samples = (1000 * np.sin(np.arange(16000))).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = 16000
        target.mux([*sound.encode(frame), *sound.encode(None)])
    with pytest.raises(ClipError, match="it has no video track"):
        read_frames(tmp_path / "song.flac", VideoRecipe())
    assert probe_clip((tmp_path / "song.flac", "pyav", "mean"))[0].video_codec is None
    assert len(read_waveform(tmp_path / "song.flac", 16000)) == 16000
