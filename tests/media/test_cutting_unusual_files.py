"""Clips cut from files of phones, editors and old recorders show what a player shows within their span."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from support.made_episodes import heard_pitch_hz, make_episode, pitch_hz
from support.made_media import read_number
from support.rewritten_media import Edit, moved, packed, with_edits, with_matrix
from trimood.media import cutting
from trimood.media.cutting import Cut, CutRecipe, CutTask, Span, cut_clip
from trimood.media.files import audio_track, open_media


def cut(episode: Path, start_ms: int, end_ms: int, language: str = "eng") -> tuple[Cut, Path]:
    clip = episode.parent / "clips" / "dia1utt1.mp4"
    return cut_clip(CutTask(Span(clip, episode, start_ms, end_ms), "made", CutRecipe(audio_language=language))), clip


def pictures(clip: Path) -> list[np.ndarray]:
    with av.open(str(clip)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def numbers_in(clip: Path) -> list[int]:
    return [read_number(picture.transpose(2, 0, 1)) for picture in pictures(clip)]


MATRICES = [(0, 1, -1, 0), (-1, 0, 0, -1), (-1, 0, 0, 1), (0, 1, 1, 0), (0, -1, -1, 0)]


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_clip_cut_from_a_phones_recording_stands_upright_for_every_reader(
    tmp_path: Path, matrix: tuple[int, int, int, int]
) -> None:
    plain = make_episode(tmp_path / "plain.mp4", 3, tracks=(), size=(96, 64))
    episode = with_matrix(plain, tmp_path / "phone.mp4", *matrix)
    result, clip = cut(episode, 1000, 2000)
    assert (result.state, result.frame_count) == ("cut", 25)
    shown = pictures(clip)
    for found, stored in zip(shown, pictures(plain)[25:50], strict=True):
        expected = moved(stored, *matrix).astype(int)
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < 3
        assert np.abs(found - expected[::-1, ::-1]).mean() > 10, "the picture looks the same upside down"
    with av.open(str(clip)) as container:
        assert "DISPLAYMATRIX" not in next(container.decode(video=0)).side_data
    assert cut(episode, 1000, 2000)[0].state == "kept"


def test_an_episode_without_frames_and_one_of_an_unknown_codec_refuse_their_own_clips(tmp_path: Path) -> None:
    empty, unknown = tmp_path / "empty.mkv", tmp_path / "unknown.avi"
    with av.open(str(empty), "w") as container:
        container.add_stream("libx264", rate=25).width = 64
        container.streams[0].height = 64
        sound_track = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.ones((1, 32000), dtype=np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(sound_track.encode(frame))
    made = make_episode(unknown, 2, codec="mpeg4", tracks=())
    made.write_bytes(made.read_bytes().replace(b"FMP4", b"ZZZ9"))
    assert cut(empty, 500, 1000)[0].state == "refused"
    result, _ = cut(unknown, 500, 1000)
    assert (result.state, result.problem) == ("refused", "unreadable")
    assert "FFmpeg does not know the codec of its video track" in result.detail


def test_a_clip_that_an_earlier_version_cut_lying_is_cut_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    episode = with_matrix(make_episode(tmp_path / "plain.mp4", 2, tracks=()), tmp_path / "phone.mp4", 0, 1, -1, 0)
    with monkeypatch.context() as earlier:
        earlier.setattr(cutting, "orientation", lambda frame: (False, False, False))
        assert cut(episode, 500, 1000)[0].state == "cut"
    assert cut(episode, 500, 1000)[0].state == "cut"
    assert cut(episode, 500, 1000)[0].state == "kept"


def mpeg4_in_avi(path: Path) -> Path:
    return make_episode(path, codec="mpeg4", options={"bf": "1", "g": "24", "qmin": "1", "qmax": "2"}, tracks=())


@pytest.mark.parametrize(
    ("make", "late"),
    [(make_episode, 2), (mpeg4_in_avi, 1), (lambda path: packed(mpeg4_in_avi(path.with_stem("plain")), path), 1)],
    ids=["h264", "mpeg4", "packed mpeg4"],
)
def test_frames_of_a_file_without_times_are_counted_in_order_of_display(
    tmp_path: Path, make: Callable[[Path], Path], late: int
) -> None:
    # FFmpeg shows them when the decoder returns them: `late` frames after the first chunk, with the sound.
    episode = make(tmp_path / "S01E01.avi")
    for start_ms, end_ms, first, last in ((0, 1000, 0, 24), (4100, 5333, 102, 133), (7000, 7900, 175, 197)):
        result, clip = cut(episode, start_ms, end_ms)
        assert (result.state, result.problem) == ("cut", "")
        assert numbers_in(clip) == [*range(max(0, first - late), last - late + 1)]


@pytest.mark.parametrize(
    ("edits", "span_ms", "shown"),
    [
        ([(2.0, 4.0)], (1300, 1900), range(82, 98)),
        ([(1.0, 1.0), (5.0, 2.0)], (1300, 1900), range(132, 148)),
        ([(5.0, 2.0), (1.0, 1.0)], (2000, 2900), range(25, 48)),
    ],
)
def test_times_of_a_span_are_those_of_the_player_where_the_file_was_trimmed_without_encoding(
    tmp_path: Path, edits: list[Edit], span_ms: tuple[int, int], shown: range
) -> None:
    whole = make_episode(tmp_path / "whole.mp4", 8, key_every=25)
    result, clip = cut(with_edits(whole, tmp_path / "S01E01.mp4", edits), *span_ms)
    assert (result.state, result.detail) == ("cut", "")
    assert numbers_in(clip) == [*shown]


@pytest.mark.slow
def test_without_a_language_the_default_track_is_heard_as_in_a_whole_clip(tmp_path: Path) -> None:
    episode = make_episode(tmp_path / "S01E01.mkv", tracks=("eng", "ger"), default_track=1)
    with open_media(episode) as container:
        whole = audio_track(container)
        assert whole is not None
        assert whole.language == "ger"
    for language, track in (("", 1), ("eng", 0)):
        result, clip = cut(episode, 2000, 3000, language)
        assert result.state == "cut"
        with av.open(str(clip)) as container:
            samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        assert heard_pitch_hz(samples[4800:43200], 48000) == pytest.approx(pitch_hz(2, track), abs=3)
