"""Only files that hold their own pictures and sound are opened."""

from pathlib import Path

import av
import pytest

from made_media import make_clip
from trimood.media.audio import read_waveform
from trimood.media.errors import ClipError
from trimood.media.files import open_media
from trimood.media.video import VideoRecipe, read_frames

LISTS = {
    "concat": "ffconcat version 1.0\nfile secret.mp4\n",
    "HLS": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "SDP": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n",
}


@pytest.mark.parametrize("kind", LISTS)
def test_what_a_list_of_files_names_is_never_opened(tmp_path: Path, kind: str) -> None:
    make_clip(tmp_path / "secret.mp4")
    clip = tmp_path / ("clip.m3u8" if kind == "HLS" else "clip.mp4")  # FFmpeg itself wants this name of HLS
    clip.write_text(LISTS[kind])
    words = r"clip\.(mp4|m3u8): unreadable: its .* cannot be decoded \(it is of no format that is read, which are mov, "
    with pytest.raises(ClipError, match=words):
        read_frames(clip, VideoRecipe())
    with pytest.raises(ClipError, match=words):
        read_waveform(clip, 16000)


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
