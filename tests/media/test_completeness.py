"""Files that were cut short are named; whole files, as real tools write them, never are."""

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from support.made_episodes import make_episode
from support.made_media import make_wav, numbered_frame, sound
from support.rewritten_media import remuxed
from support.shared_data import SHARED, needs_shared
from trimood.media.audio import read_waveform
from trimood.media.completeness import missing_end, require_whole
from trimood.media.errors import ClipError
from trimood.media.excerpts import SpanError, frames_within
from trimood.media.probe import probe_clip
from trimood.media.recipes import VideoRecipe
from trimood.media.video import read_frames

Kind = tuple[str, str, str, dict[str, str]]
"""Ending, codec of the pictures, codec of the sound ("" for none), options of the container."""

CLIPS: dict[str, Kind] = {
    "mp4": ("mp4", "libx264", "aac", {}),
    "mp4 with its index in front": ("mp4", "libx264", "aac", {"movflags": "faststart"}),
    "mp4 in fragments": ("mp4", "libx264", "aac", {"movflags": "frag_keyframe+empty_moov"}),
    "mov": ("mov", "libx264", "pcm_s16le", {}),
    "mkv": ("mkv", "libx264", "aac", {}),
    "webm": ("webm", "libvpx", "libopus", {}),
    "webm recorded live": ("webm", "libvpx", "libopus", {"live": "1"}),
    "flv": ("flv", "flv", "libmp3lame", {}),
    "flv without a duration": ("flv", "libx264", "aac", {"flvflags": "no_duration_filesize"}),
    "avi": ("avi", "mpeg4", "libmp3lame", {}),
    "wmv": ("wmv", "wmv2", "wmav2", {}),
    "mxf": ("mxf", "mpeg2video", "pcm_s16le", {}),
    "3gp": ("3gp", "libx264", "aac", {}),
}
SOUNDS: dict[str, Kind] = {
    "ogg": ("ogg", "", "libopus", {}),
    "opus": ("opus", "", "libopus", {}),
    "mp3": ("mp3", "", "libmp3lame", {}),
    "m4a": ("m4a", "", "aac", {}),
    "wav": ("wav", "", "pcm_s16le", {}),
    "rf64": ("wav", "", "pcm_s16le", {"rf64": "always"}),
    "aiff": ("aiff", "", "pcm_s16be", {}),
    "au": ("au", "", "pcm_s16be", {}),
    "flac": ("flac", "", "flac", {}),
    "mka": ("mka", "", "aac", {}),
    "aac": ("aac", "", "aac", {}),
    "ac3": ("ac3", "", "ac3", {}),
    "caf": ("caf", "", "pcm_s16be", {}),
    "w64": ("w64", "", "pcm_s16le", {}),
    "tta": ("tta", "", "tta", {}),
    "wavpack": ("wv", "", "wavpack", {}),
}
SILENT_ABOUT_IT: dict[str, Kind] = {
    "mpeg transport stream": ("ts", "libx264", "aac", {}),
    "mpeg program stream": ("mpg", "mpeg1video", "mp2", {}),
    "mp3 without Xing's frame": ("mp3", "", "libmp3lame", {"write_xing": "0"}),
}


def made(folder: Path, kind: Kind, seconds: float = 2.0) -> Path:
    """A file of this kind whose two tracks are interleaved."""
    ending, video_codec, audio_codec, options = kind
    path, rate_hz = folder / f"clip.{ending}", 48000 if video_codec != "flv" else 44100
    with av.open(str(path), "w", options=options) as container:
        track = container.add_stream(video_codec, rate=25, options={"g": "10"}) if video_codec else None
        if track:
            track.width = track.height = 64
            track.pix_fmt = "yuv420p"
        heard = container.add_stream(audio_codec, rate=rate_hz, layout="stereo")
        heard.bit_rate = 128_000
        resampler = av.AudioResampler(
            format=heard.codec_context.format, layout="stereo", rate=rate_hz, frame_size=heard.codec_context.frame_size
        )
        samples = sound("noise", seconds, rate_hz, channels=2)
        for number in range(round(seconds * 25)):
            if track:
                picture = numbered_frame(number, 64, 64)
                container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            piece = np.ascontiguousarray(samples[:, number * rate_hz // 25 : (number + 1) * rate_hz // 25])
            frame = av.AudioFrame.from_ndarray(piece.T.reshape(1, -1), format="flt", layout="stereo")
            frame.sample_rate = rate_hz
            for some in resampler.resample(frame):
                container.mux(heard.encode(some))
        for some in resampler.resample(None):
            container.mux(heard.encode(some))
        container.mux(heard.encode(None))
        if track:
            container.mux(track.encode(None))
    return path


def cut_short(path: Path, share: float) -> Path:
    content = path.read_bytes()
    target = path.with_stem("short")
    target.write_bytes(content[: int(share * len(content))])
    return target


@pytest.mark.parametrize("kind", [*CLIPS, *SOUNDS])
def test_a_file_that_was_cut_short_is_named_and_the_whole_one_is_not(tmp_path: Path, kind: str) -> None:
    whole = made(tmp_path, (CLIPS | SOUNDS)[kind])
    require_whole(whole)
    assert len(read_waveform(whole, 16000)) > 30000
    if kind in CLIPS:
        assert len(read_frames(whole, VideoRecipe(8, 32))) == 8
    for share in (0.2, 0.55, 0.9):
        with pytest.raises(ClipError, match=r"^short\.\w+: unreadable: the file was cut short: .*Copy it from"):
            require_whole(cut_short(whole, share))


def test_frames_sound_and_facts_name_a_file_that_was_cut_short(tmp_path: Path) -> None:
    short = cut_short(made(tmp_path, CLIPS["mkv"]), 0.55)
    facts = probe_clip((short, "pyav", "mean"))[0]
    assert (facts.video_problem, facts.audio_problem) == ("unreadable", "unreadable")
    assert str(facts.video_detail).startswith("the file was cut short: ")
    for read in (lambda: read_frames(short, VideoRecipe()), lambda: read_waveform(short, 16000)):
        with pytest.raises(ClipError, match="the file was cut short"):
            read()


@pytest.mark.parametrize("frames_per_second", [1, 25])
def test_a_last_frame_that_is_shown_for_long_is_the_end_of_its_file(tmp_path: Path, frames_per_second: int) -> None:
    whole = make_episode(tmp_path / "slides.flv", 4, frames_per_second, codec="flv", options={"g": "1"}, tracks=())
    content = whole.read_bytes()
    at = content.find(b"\x00\x08duration\x00") + 11
    for stated, is_whole in ((4.0, True), (8.0, False)):
        whole.write_bytes(content[:at] + np.array(stated, ">f8").tobytes() + content[at + 8 :])
        assert (missing_end(whole) == "") == is_whole


def test_an_mp3_that_states_its_frames_alone_is_counted(tmp_path: Path) -> None:
    whole = made(tmp_path, SOUNDS["mp3"])
    content = bytearray(whole.read_bytes())
    at = max(content.find(b"Xing"), content.find(b"Info"))
    content[at + 7] &= 1  # frames are stated, bytes are not: these fields move up
    whole.write_bytes(content)
    require_whole(whole)
    with pytest.raises(ClipError, match=r"its header states 8\d frames, and it has 4\d"):
        require_whole(cut_short(whole, 0.55))


@pytest.mark.slow
def test_frames_of_an_ivf_file_are_followed(tmp_path: Path) -> None:
    ivf = remuxed(made(tmp_path, CLIPS["webm"]), tmp_path / "clip.ivf")
    require_whole(ivf)
    with pytest.raises(ClipError, match="the file was cut short: its part frame reaches to byte"):
        require_whole(cut_short(ivf, 0.55))


def test_media_of_unknown_length_reach_to_the_end_of_an_mp4(tmp_path: Path) -> None:
    whole = made(tmp_path, CLIPS["mp4 with its index in front"])
    content = bytearray(whole.read_bytes())
    at = content.find(b"mdat")
    content[at - 4 : at] = bytes(4)
    whole.write_bytes(content)
    require_whole(whole)
    with pytest.raises(ClipError, match=r"\d+ of its \d+ frames and pieces of sound are missing"):
        require_whole(cut_short(whole, 0.55))


def test_a_span_in_the_part_that_is_missing_says_so(tmp_path: Path) -> None:
    short = cut_short(made(tmp_path, CLIPS["mkv"]), 0.55)
    with pytest.raises(SpanError, match=r"the video ends at .*; the file was cut short: its part Segment reaches"):
        list(frames_within(short, Fraction(3, 2), Fraction(19, 10)))
    assert len(list(frames_within(short, Fraction(1, 10), Fraction(1, 2)))) == 11


@pytest.mark.parametrize("kind", SILENT_ABOUT_IT)
def test_a_container_that_does_not_state_its_length_is_taken_as_it_is(tmp_path: Path, kind: str) -> None:
    whole = made(tmp_path, SILENT_ABOUT_IT[kind])
    require_whole(whole)
    require_whole(cut_short(whole, 0.55))


def test_a_recording_whose_duration_alone_is_stated_is_compared_with_its_last_frame(tmp_path: Path) -> None:
    # As scripts for web pages add it to what a browser has recorded.
    whole = made(tmp_path, CLIPS["webm recorded live"])
    content = whole.read_bytes()
    at = content.rfind(bytes.fromhex("1549a966"))  # the first one is an entry of the index
    width = 9 - content[at + 4].bit_length()
    begin = at + 4 + width
    end = begin + (int.from_bytes(content[at + 4 : begin]) & (1 << 7 * width) - 1)
    for stated_ms, is_whole in ((2000.0, True), (2150.0, True), (4000.0, False)):
        duration = b"\x44\x89\x88" + np.array(stated_ms, ">f8").tobytes()
        longer = (1 << 56 | end - begin + len(duration)).to_bytes(8)
        stated = tmp_path / "stated.webm"
        stated.write_bytes(content[: at + 4] + longer + content[begin:end] + duration + content[end:])
        if is_whole:
            require_whole(stated)
        else:
            with pytest.raises(ClipError, match=r"it states 4\.0 s and ends after 2\.0 s"):
                require_whole(stated)


@pytest.mark.slow
def test_a_browsers_recording_may_end_at_any_byte_of_its_clusters(tmp_path: Path) -> None:
    # A page that does not wait for the last piece of MediaRecorder has such a file.
    content = made(tmp_path, CLIPS["webm recorded live"]).read_bytes()
    content = re.sub(rb"\x1fC\xb6u..(?=\xe7)", b"\x1fC\xb6u\x7f\xff", content, flags=re.DOTALL)  # of unknown size
    recording = tmp_path / "recording.webm"
    for end in range(len(content) - 2500, len(content), 7):
        recording.write_bytes(content[:end])
        require_whole(recording)
    assert len(read_frames(recording, VideoRecipe(8, 32))) == 8
    assert len(read_waveform(recording, 16000)) > 28000


def test_a_live_ogg_may_lack_its_last_page_but_no_part_of_one(tmp_path: Path) -> None:
    whole = made(tmp_path, SOUNDS["ogg"])
    content = whole.read_bytes()
    last = content.rfind(b"OggS")
    for end in (last - 1, last + 1, last + 4, last + 26, last + 28):
        whole.write_bytes(content[:end])
        with pytest.raises(ClipError, match=r"the file was cut short: (it ends within|its part page)"):
            require_whole(whole)
    whole.write_bytes(content[:last])
    require_whole(whole)
    before = content.rfind(b"OggS", 0, last)
    at = before + 26 + content[before + 26]  # the size of the page's last piece
    assert content[at] < 255
    whole.write_bytes(content[:at] + b"\xff" + content[at + 1 : last] + bytes(255 - content[at]))
    with pytest.raises(ClipError, match="the file was cut short: its last page is missing"):
        require_whole(whole)


def test_a_flac_that_was_copied_in_part_is_whole_until_its_last_frame_is_broken(tmp_path: Path) -> None:
    whole = made(tmp_path, SOUNDS["flac"])
    content = whole.read_bytes()
    with av.open(str(whole)) as container:
        sizes = [packet.size for packet in container.demux(audio=0)]
    copied = len(content) - sum(sizes[len(sizes) // 2 :])  # as ffmpeg -t 1 -c copy leaves it
    whole.write_bytes(content[:copied])
    require_whole(whole)
    whole.write_bytes(content[: copied - 9])
    with pytest.raises(ClipError, match="the file was cut short: it states 96,000 samples, and it has"):
        require_whole(whole)


def test_what_lies_behind_the_last_tag_of_an_flv_does_not_matter(tmp_path: Path) -> None:
    whole = made(tmp_path, CLIPS["flv"])
    content = whole.read_bytes()
    for behind in (content[:-4], content[:-2], content + bytes(6), content + b"\xff" * 9):
        whole.write_bytes(behind)
        require_whole(whole)
    whole.write_bytes(content + b"\x09\x00\x01")
    with pytest.raises(ClipError, match="it ends within the head of a tag"):
        require_whole(whole)


@pytest.mark.parametrize("stated", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_sound_written_to_a_pipe_states_no_length_and_is_whole(tmp_path: Path, stated: int) -> None:
    wav = make_wav(tmp_path / "pipe.wav", sound("sine", 1.0, 16000), 16000)
    content = bytearray(wav.read_bytes())
    data = content.find(b"data")
    for at in (4, data + 4):
        content[at : at + 4] = stated.to_bytes(4, "little")
    wav.write_bytes(content)
    if stated:  # FFmpeg takes 0 for a file without sound
        assert len(read_waveform(wav, 16000)) == 16000
    else:
        require_whole(wav)


def test_sound_of_unknown_length_reaches_to_the_end_of_its_file(tmp_path: Path) -> None:
    caf, wavpack = made(tmp_path, SOUNDS["caf"]), made(tmp_path, SOUNDS["wavpack"])
    for path, at, unknown in (
        (caf, caf.read_bytes().find(b"data") + 4, (-1).to_bytes(8, "big", signed=True)),
        (wavpack, 12, b"\xff" * 4),
    ):
        content = path.read_bytes()
        path.write_bytes(content[:at] + unknown + content[at + len(unknown) :])
        require_whole(path)
    assert missing_end(cut_short(caf, 0.9)) == ""


def test_a_sound_file_that_ends_between_two_of_its_blocks_is_named(tmp_path: Path) -> None:
    whole = made(tmp_path, SOUNDS["wavpack"])
    content = whole.read_bytes()
    second = 8 + int.from_bytes(content[4:8], "little")
    assert content[second : second + 4] == b"wvpk"
    whole.write_bytes(content[:second])
    assert re.fullmatch(r"it states 96,000 samples, and it has [\d,]+", missing_end(whole))
    whole.write_bytes(content[: second + 9])
    assert missing_end(whole) == "it ends within the head of a block"


@pytest.mark.parametrize(
    ("kind", "behind"),
    [
        *(
            ("mp4", bytes(999)),
            ("mkv", b"\xff" * 99),
            ("mp3", b"TAG" + bytes(125)),
            ("wavpack", b"APETAGEX" + bytes(99)),
        ),
        *(("ac3", bytes(9)), ("tta", b"TAG" + bytes(125)), ("w64", bytes(9)), ("caf", bytes(99))),
    ],
)
def test_what_other_programs_append_to_a_file_does_no_harm(tmp_path: Path, kind: str, behind: bytes) -> None:
    whole = made(tmp_path, (CLIPS | SOUNDS)[kind])
    whole.write_bytes(whole.read_bytes() + behind)
    require_whole(whole)


def test_an_empty_file_is_left_to_the_readers(tmp_path: Path) -> None:
    (tmp_path / "none.mp4").write_bytes(b"")
    require_whole(tmp_path / "none.mp4")  # the readers say what it is not


@needs_shared
def test_no_real_file_is_called_cut_short() -> None:
    assert SHARED is not None
    files = [path for path in (SHARED / "media").rglob("*") if path.suffix in (".mp4", ".wav")]
    assert len(files) > 50
    for path in files:
        require_whole(path)
