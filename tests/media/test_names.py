"""Files are found by endings in any case and through linked folders, and names that look equal are equal."""

import os
from pathlib import Path

import av
import numpy as np
import pytest

from trimood.media.files import open_media
from trimood.media.names import ENDINGS, files_below, seems_media, spelling, video_names

# Endings from which PyAV chooses a muxer that can be written here, with a codec that the format takes.
WRITTEN = {
    **dict.fromkeys([".mp4", ".mov", ".m4v", ".3gp", ".3g2", ".mkv", ".avi", ".ts", ".mts", ".m2ts"], "mpeg4"),
    **dict.fromkeys([".flv"], "flv"),
    **dict.fromkeys([".mpg", ".mpeg", ".vob"], "mpeg1video"),
    **dict.fromkeys([".wmv", ".asf"], "wmv2"),
    **dict.fromkeys([".webm", ".ivf"], "libvpx"),
    **dict.fromkeys([".wav", ".w64", ".caf", ".mka"], "pcm_s16le"),
    **dict.fromkeys([".aiff", ".aif", ".au"], "pcm_s16be"),
    **dict.fromkeys([".m4a", ".aac"], "aac"),
    **dict.fromkeys([".wma"], "wmav2"),
    **dict.fromkeys([".opus", ".oga", ".ogg"], "libopus"),
    **{".flac": "flac", ".mp3": "libmp3lame", ".mp2": "mp2", ".ac3": "ac3", ".tta": "tta", ".wv": "wavpack"},
}


def written(path: Path, codec: str) -> Path:
    with av.open(str(path), "w") as container:
        if av.codec.Codec(codec, "w").type == "video":
            track = container.add_stream(codec, rate=25)
            track.width, track.height, track.pix_fmt = 176, 144, "yuv420p"  # 3gp's H.263 knows few sizes
            frames = [av.VideoFrame.from_ndarray(np.full((144, 176, 3), n, np.uint8), "rgb24") for n in range(5)]
        else:
            track = container.add_stream(codec, rate=48000, layout="mono", bit_rate=64000)
            kind = track.codec_context.codec.audio_formats[0].name
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 9600), np.int16), "s16", "mono")
            frame.sample_rate = 48000
            frames = av.AudioResampler(kind, "mono", 48000, frame_size=track.codec_context.frame_size or 1024).resample(
                frame
            )
        for frame in frames:
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


@pytest.mark.parametrize(("ending", "codec"), WRITTEN.items(), ids=WRITTEN)
def test_a_file_of_each_ending_is_found_in_capitals_too_and_can_be_opened(
    tmp_path: Path, ending: str, codec: str
) -> None:
    path = written(tmp_path / f"Clip{ending}", codec).rename(tmp_path / f"Clip{ending.upper()}")
    assert spelling(path.name) == ("Clip", ending)
    with open_media(path) as container:
        assert sum(packet.size > 0 for packet in container.demux())


def test_no_ending_stands_twice_and_each_is_in_small_letters() -> None:
    assert len(set(ENDINGS)) == len(ENDINGS) > 50
    assert all(ending == ending.lower() and ending.startswith(".") for ending in ENDINGS)
    assert not {".m3u8", ".mpd", ".sdp", ".concat", ".srt", ".txt"} & set(ENDINGS)  # lists of other files, words


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Zoe\u0301.mp4", "Zo\u00e9.MP4"),
        (" b.mp4 ", "b .mp4"),
        ("more\\c.wav", "./more/c.WAV"),
        ("more /\u1112\u1161\u11ab.mov", "more/\ud55c.mov"),
    ],
)
def test_names_that_look_equal_are_equal(name: str, other: str) -> None:
    assert spelling(name) == spelling(other)


def test_only_a_media_ending_is_one() -> None:
    assert spelling("clip.v2.mp4") == ("clip.v2", ".mp4")
    assert spelling("dia1.utt2") == ("dia1.utt2", "")
    assert spelling("a.mp4") != spelling("A.mp4")


def test_linked_folders_are_entered_once_and_circles_end(tmp_path: Path) -> None:
    disk, clips = tmp_path / "disk", tmp_path / "clips"
    for name in ("disk/session/b.mp4", "clips/a.mp4", "clips/zoo/c.mp4", "clips/.hidden/d.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (clips / "session").symlink_to(disk / "session")
    (disk / "session" / "up").symlink_to(clips)  # a circle
    (disk / "session" / "self").symlink_to(disk / "session")
    (clips / "another").symlink_to(clips / "zoo")  # found before the folder itself, by its name
    (clips / "linked.mp4").symlink_to(disk / "session" / "b.mp4")
    (clips / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    os.mkfifo(clips / "pipe.mp4")  # to open it would wait for ever
    assert [str(path.relative_to(clips)) for path in files_below(clips)] == [
        "a.mp4",
        "gone.mp4",
        "linked.mp4",
        "session/b.mp4",
        "zoo/c.mp4",
    ]


def test_a_link_is_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.mp4").touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert files_below(tmp_path / "link") == [tmp_path / "link" / "a.mp4"]


def test_a_folder_names_its_videos_by_their_spelling(tmp_path: Path) -> None:
    for name in ("dia1utt1.MP4", "dia1utt2.mkv", "dia1utt2.mp4", "dia1utt3.wav", "dia1utt4.txt", "dia1utt5 .flv"):
        (tmp_path / name).touch()
    assert video_names(tmp_path) == {
        "dia1utt1": "dia1utt1.MP4",
        "dia1utt2": "dia1utt2.mp4",
        "dia1utt5": "dia1utt5 .flv",
    }
    assert video_names(tmp_path / "nowhere") == {}


def test_media_are_known_by_their_ending_or_their_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "film.m2v").touch()
    (tmp_path / "download").write_bytes(b"\0\0\0\x20ftypisom")
    (tmp_path / "voice.part").write_bytes(b"RIFF....WAVE")
    (tmp_path / "notes.txt").write_text("RIF")
    found = {path.name: seems_media(path) for path in tmp_path.iterdir()}
    assert found == {"film.m2v": True, "download": True, "voice.part": True, "notes.txt": False}
