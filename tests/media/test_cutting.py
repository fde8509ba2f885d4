"""Clips cut from made episodes: the frames carry their number, the sound its second."""

import os
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from support.made_episodes import heard_pitch_hz, make_episode, pitch_hz, samples_of_episode
from support.made_media import make_clip, read_number
from trimood.disk import DiskFull
from trimood.media.audio import read_waveform, samples_of
from trimood.media.cutting import Cut, CutRecipe, CutTask, Span, cut_clip
from trimood.media.recipes import VideoRecipe
from trimood.media.video import read_frames


def cut(episode: Path, start_ms: int, end_ms: int, clip: Path | None = None, **task: object) -> tuple[Cut, Path]:
    """The span of the episode as a clip beside it, and what the function says of it."""
    clip = clip or episode.parent / "clips" / "dia1utt1.mp4"
    settings: dict = {"recipe": CutRecipe(), "episode_fingerprint": "made", **task}
    return cut_clip(CutTask(Span(clip, episode, start_ms, end_ms), **settings)), clip


@cache
def shown(path: Path) -> list[tuple[Fraction, int]]:
    """Every frame of a file by plain decoding from its beginning: its time from the file's start, and its number."""
    with av.open(str(path)) as container:
        origin = Fraction(container.start_time, 1_000_000)
        frames = list(container.decode(video=0))
    pictures = [in_the_middle(frame.to_ndarray(format="rgb24").transpose(2, 0, 1)) for frame in frames]
    times = [frame.pts * frame.time_base - origin for frame in frames]
    return [(time, read_number(picture)) for time, picture in zip(times, pictures, strict=True)]


def in_the_middle(picture: np.ndarray) -> np.ndarray:
    """The central square of a picture [3, height, width]."""
    _, height, width = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return picture[:, top : top + side, left : left + side]


def expected(episode: Path, start_ms: int, end_ms: int) -> list[tuple[float, int]]:
    """What a viewer sees from the start until before the end, in seconds from the start."""
    start, end = Fraction(start_ms, 1000), Fraction(end_ms, 1000)
    # Where sound begins before the pictures, the first of them is held.
    frames = [(Fraction(0), 0), *shown(episode)[1:]]
    first = max((number for number, (time, _) in enumerate(frames) if time <= start), default=0)
    return [(float(max(time - start, 0)), number) for time, number in frames[first:] if time < end]


def seen(clip: Path) -> list[tuple[float, int]]:
    return [(float(time), number) for time, number in shown.__wrapped__(clip)]


def heard(clip: Path) -> np.ndarray:
    """The samples [channel, sample] that a player plays: the encoder fills up its last block with silence."""
    with av.open(str(clip)) as container:
        track = container.streams.audio[0]
        pieces = [samples_of(frame) for frame in container.decode(track)]
        assert track.time_base == Fraction(1, track.rate)
        return np.concatenate(pieces, axis=1)[:, : track.duration]


def lag_samples(sound: np.ndarray, whole: np.ndarray, begin: int) -> int:
    """By how many samples `sound` is late against `whole` from `begin`, by least squares; both [sample]."""
    lags = np.arange(-60, 61)
    padded = np.pad(whole, 60)
    errors = [((sound - padded[60 + begin + lag :][: len(sound)]) ** 2).mean() for lag in lags]
    return int(lags[np.argmin(errors)])


KINDS = {
    "b-frames.mp4": {},
    "b-frames.mkv": {},
    "begins later.mp4": {"begin_ms": 2000},
    "begins later.ts": {"begin_ms": 5000},
    "one key frame.mp4": {"key_every": 1000},
    "variable rate.mp4": {"times_ms": sorted({int(7.3 * n**1.4) for n in range(165)})},
    "variable rate.mkv": {"times_ms": sorted({int(7.3 * n**1.4) for n in range(165)})},
    "odd size.mkv": {"codec": "ffv1", "size": (67, 51), "options": {"g": "1"}},
    "xvid.avi": {"codec": "mpeg4", "options": {"bf": "2", "g": "30", "qmin": "1", "qmax": "2"}},
    "h265.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=40:bframes=4", "crf": "12"}},
    "open groups.mkv": {"options": {"bf": "3", "g": "20", "crf": "10", "x264-params": "open-gop=1:scenecut=0"}},
}


QUICK = ("b-frames.mp4", "begins later.ts")


@pytest.fixture(
    scope="module", params=[pytest.param(kind, marks=[] if kind in QUICK else [pytest.mark.slow]) for kind in KINDS]
)
def episode(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_episode(tmp_path_factory.mktemp("episodes") / request.param, **KINDS[request.param])


@pytest.mark.parametrize(("start_ms", "end_ms"), [(0, 1000), (0, 17), (4100, 5333), (6000, 6006), (333, 7700)])
def test_a_clip_has_the_frames_shown_within_its_span_and_no_other(episode: Path, start_ms: int, end_ms: int) -> None:
    wanted = expected(episode, start_ms, end_ms)
    result, clip = cut(episode, start_ms, end_ms)
    assert (result.state, result.detail, result.frame_count) == ("cut", "", len(wanted))
    frames = seen(clip)
    assert [number for _, number in frames] == [number for _, number in wanted]
    assert [time for time, _ in frames] == pytest.approx([time for time, _ in wanted], abs=2e-5)
    assert result.video_seconds == pytest.approx((end_ms - start_ms) / 1000, abs=2e-5)
    assert result.audio_seconds == pytest.approx((end_ms - start_ms) / 1000, abs=1 / 48000)


def test_the_sound_of_a_clip_is_cut_to_the_sample(episode: Path) -> None:
    start_ms, end_ms = 3250, 5333
    _, clip = cut(episode, start_ms, end_ms)
    sound = heard(clip)
    assert sound.shape == (2, (end_ms - start_ms) * 48)
    with av.open(str(episode)) as container:
        begin_ms = KINDS[episode.name].get("begin_ms", 0)
        late_seconds = Fraction(container.start_time, 1_000_000) - Fraction(begin_ms, 1000)
    begin = round((Fraction(start_ms, 1000) + late_seconds) * 48000)
    # Containers round the times of their sound: Matroska to a millisecond, mp4 its beginning where that is not 0.
    allowed = 0 if episode.suffix == ".mp4" and not begin_ms else 48
    assert abs(lag_samples(sound[0], samples_of_episode(8.0), begin)) <= allowed


def test_the_sound_of_a_clip_is_that_of_its_seconds(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv")
    _, clip = cut(episode, 3000, 6000)
    sound = heard(clip)[0]
    for second in range(3):
        assert heard_pitch_hz(sound[second * 48000 : (second + 1) * 48000], 48000) == pytest.approx(
            pitch_hz(3 + second), abs=3
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("languages", "wanted", "track", "name"),
    [
        (("rus", "eng"), "eng", 1, "2 of 2 (eng)"),
        (("eng", "rus"), "eng", 0, "1 of 2 (eng)"),
        (("rus", "fre"), "eng", 0, "1 of 2 (rus)"),
        (("", ""), "eng", 0, "1 of 2 (no language given)"),
    ],
)
def test_of_two_audio_tracks_the_wanted_language_is_heard(
    tmp_path: Path, languages: tuple[str, ...], wanted: str, track: int, name: str
) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv", tracks=languages)
    result, clip = cut(episode, 2000, 3000, recipe=CutRecipe(audio_language=wanted))
    assert result.audio_track == name
    assert heard_pitch_hz(heard(clip)[0], 48000) == pytest.approx(pitch_hz(2, track), abs=3)


@pytest.mark.slow
@pytest.mark.parametrize(("rate", "layout"), [(44100, "mono"), (16000, "stereo"), (48000, "5.1"), (48000, "7.1")])
def test_rate_and_channels_stay_as_they_are(tmp_path: Path, rate: int, layout: str) -> None:
    episode = make_episode(tmp_path / "S01E01.mp4", rate=rate, layout=layout)
    _, clip = cut(episode, 1500, 2750)
    with av.open(str(clip)) as container:
        track = container.streams.audio[0]
        assert (track.rate, track.layout.name) == (rate, layout)
    sound = heard(clip)
    assert sound.shape[1] == round(1.25 * rate)
    assert heard_pitch_hz(sound[0][: rate // 2], rate) == pytest.approx(pitch_hz(1), abs=3)


@pytest.mark.parametrize(("layout", "becomes"), [("mono", "mono"), ("5.1", "5.1"), ("quad", "mono")])
def test_sound_whose_layout_aac_has_not_or_the_file_does_not_say_stays_as_loud(
    tmp_path: Path, layout: str, becomes: str
) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv", layout=layout, sound_codec="pcm_s16le")
    _, clip = cut(episode, 2000, 3000)
    with av.open(str(clip)) as container:
        assert container.streams.audio[0].layout.name == becomes
    loudness = read_waveform(clip, 16000).square().mean().sqrt().item()
    if becomes != "5.1":  # the sixth channel of 5.1 keeps low tones only
        assert loudness == pytest.approx(0.5 / 2**0.5, rel=0.03)


def test_an_episode_without_sound_gives_clips_without_sound_and_says_so(tmp_path: Path) -> None:
    result, clip = cut(make_episode(tmp_path / "S01E01.mkv", tracks=()), 2000, 3000)
    assert (result.state, result.detail, result.audio_seconds) == ("cut", "no sound", 0)
    with av.open(str(clip)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_sound_that_begins_late_or_ends_early_keeps_its_place(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv", seconds=8, sound_from=2.0, sound_until=5.0)
    late, clip = cut(episode, 1500, 3000)
    sound = heard(clip)[0]
    assert np.abs(sound[: 48 * 480]).max() < 0.01
    assert heard_pitch_hz(sound[48 * 520 : 48 * 1480], 48000) == pytest.approx(pitch_hz(2), abs=3)
    assert late.detail == ""
    early, _ = cut(episode, 4000, 6000, clip=tmp_path / "early.mp4")
    assert early.state == "cut"
    assert early.detail.startswith("the sound ends after 1.0")
    none, _ = cut(episode, 6000, 7000, clip=tmp_path / "none.mp4")
    assert (none.state, none.detail) == ("cut", "no sound")


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "words"),
    [
        (2000, 2000, "the span is empty: its end, 2.000 s, is not after its start"),
        (3000, 2000, "the span is empty: its end, 2.000 s"),
        (7000, 9000, "the video ends at 8.000 s, before the end of the span"),
        (60_000, 61_000, "the video ends at 8.000 s, before the end of the span"),
    ],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_span_that_the_episode_cannot_give_is_refused_and_leaves_no_file(
    tmp_path: Path, start_ms: int, end_ms: int, words: str, suffix: str
) -> None:
    result, clip = cut(make_episode(tmp_path / f"S01E01.{suffix}"), start_ms, end_ms)
    assert (result.state, result.problem) == ("refused", "empty_span" if end_ms <= start_ms else "beyond_the_end")
    assert result.detail.startswith(words.replace("8.000", "8.021" if suffix == "ts" else "8.000"))
    assert not clip.parent.exists() or not list(clip.parent.iterdir())


@pytest.mark.slow
def test_a_broken_place_in_an_episode_costs_only_the_clips_there(tmp_path: Path) -> None:
    whole = make_episode(tmp_path / "S01E01.ts", seconds=10, key_every=25)
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = os.urandom(6000)
    whole.write_bytes(content)
    states = [cut(whole, ms, ms + 900, clip=tmp_path / f"{ms}.mp4")[0].state for ms in range(0, 9000, 1000)]
    assert "refused" in states
    assert states.count("cut") >= 6


def test_an_episode_that_is_no_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "S01E01.mkv").write_text("not an episode")
    result, _ = cut(tmp_path / "S01E01.mkv", 0, 1000)
    assert (result.state, result.detail[:46]) == ("refused", "S01E01.mkv cannot be decoded within the span (")


def test_an_episode_of_a_codec_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mp4", tracks=())
    episode.write_bytes(episode.read_bytes().replace(b"avc1", b"zzzz"))
    result, _ = cut(episode, 0, 1000)
    assert (result.state, result.problem) == ("refused", "unreadable")
    assert "FFmpeg does not know the codec of its video track" in result.detail


def test_a_file_whose_times_are_not_sure_is_refused_with_what_to_do(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.vob", codec="mpeg2video", options={"bf": "2", "g": "15"}, tracks=())
    result, _ = cut(episode, 4100, 5333)
    assert (result.state, result.problem) == ("refused", "unreadable")
    assert result.detail.endswith("ffmpeg -i S01E01.vob -c copy S01E01.mkv")


@pytest.mark.slow
def test_a_clip_that_is_whole_and_of_the_same_span_is_kept(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv")
    first, clip = cut(episode, 2000, 3000)
    before = clip.stat()
    again, _ = cut(episode, 2000, 3000)
    assert again == Cut("kept", *list(vars(first).values())[1:])
    assert (clip.stat().st_ino, clip.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changed",
    [{"end_ms": 3001}, {"episode_fingerprint": "another"}, {"recipe": CutRecipe(crf=30)}],
    ids=["span", "file", "recipe"],
)
def test_a_clip_of_another_span_file_or_recipe_is_cut_anew(tmp_path: Path, changed: dict) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv")
    _, clip = cut(episode, 2000, 3000)
    before = clip.stat().st_ino
    again, _ = cut(episode, **{"start_ms": 2000, "end_ms": 3000, **changed})
    assert again.state == "cut"
    assert clip.stat().st_ino != before


@pytest.mark.slow
def test_a_clip_of_ours_that_was_damaged_is_never_kept(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv")
    _, clip = cut(episode, 2000, 3000)
    clip.write_bytes(clip.read_bytes()[:-3000])
    assert cut(episode, 2000, 3000)[0].state == "cut"
    assert len(seen(clip)) == 25


@pytest.mark.slow
def test_a_clip_that_was_not_cut_here_is_left_alone_unless_told_otherwise(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv")
    own = make_clip(tmp_path / "clips" / "dia1utt1.mp4")
    content = own.read_bytes()
    result, _ = cut(episode, 2000, 3000)
    assert result == Cut(
        "refused", "not_cut_here", "this file exists and was not cut by this command; it is kept unchanged"
    )
    assert own.read_bytes() == content
    assert cut(episode, 2000, 3000, overwrite=True)[0].state == "cut"
    assert seen(own)[0] == (0.0, 50)


@pytest.mark.slow
def test_what_is_cut_can_be_prepared(tmp_path: Path) -> None:
    _, clip = cut(make_episode(tmp_path / "S01E01.mkv"), 2000, 3000)
    frames = read_frames(clip, VideoRecipe(frame_count=8, frame_size_pixels=64))
    assert [read_number(frame.numpy()) for frame in frames] == [50, 53, 56, 60, 63, 67, 70, 74]
    assert len(read_waveform(clip, 16000).ravel()) == pytest.approx(16000, abs=400)


@pytest.mark.slow
def test_a_disk_that_fills_up_is_said_and_no_part_of_a_clip_is_left(tmp_path: Path, small_disk: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mp4", seconds=20, size=(256, 256))
    with pytest.raises(DiskFull, match=r"dia1utt1\.mp4: it could not be written"):
        cut(episode, 0, 20_000, clip=small_disk / "dia1utt1.mp4", recipe=CutRecipe(crf=0))
    assert list(small_disk.iterdir()) == []
