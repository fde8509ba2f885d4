"""Which frames a player shows, and which way up: what phones, editors, browsers and old recorders leave in a file."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from support.made_episodes import make_episode
from support.made_media import make_clip, numbered_clip, read_number
from support.rewritten_media import (
    Edit,
    begun_at_second_key_frame,
    moved,
    packed,
    remuxed,
    with_edits,
    with_matrix,
)
from trimood.media.errors import ClipError
from trimood.media.probe import first_picture, probe_clip
from trimood.media.recipes import VideoRecipe
from trimood.media.video import fit_frame, frame_indices, read_frames, shown_times

EIGHT = [
    *((1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)),
    *((-1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 0, -1), (0, -1, -1, 0)),
]
"""Four turns, and each of them mirrored: a, b, c, d of the display matrix."""


def numbers_in(clip: Path) -> list[int]:
    return [read_number(frame.numpy()) for frame in read_frames(clip, VideoRecipe(8, 64))]


def decoded(clip: Path) -> list[np.ndarray]:
    """Every frame that FFmpeg shows, as stored, [height, width, 3]."""
    with av.open(str(clip)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("matrix", EIGHT)
def test_pictures_are_turned_and_mirrored_as_the_display_matrix_says(
    tmp_path: Path, matrix: tuple[int, int, int, int], suffix: str
) -> None:
    plain = make_clip(tmp_path / "plain.mp4", seconds=2, size=(96, 64), audio="none")
    clip = with_matrix(plain, tmp_path / "phone.mp4", *matrix)
    if suffix != "mp4":
        clip = remuxed(clip, tmp_path / f"phone.{suffix}")
    stored = decoded(plain)
    chosen = frame_indices(len(stored), 8)
    expected = [fit_frame(torch.from_numpy(moved(stored[index], *matrix)), 56) for index in chosen]
    frames = read_frames(clip, VideoRecipe(8, 56))
    assert torch.equal(frames, torch.stack(expected))
    assert matrix == EIGHT[0] or not torch.equal(frames, read_frames(plain, VideoRecipe(8, 56)))
    picture = moved(first_picture(plain), *matrix)
    assert np.array_equal(first_picture(clip), picture)


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (-32768, 32767, 32767, 32767)])
def test_a_broken_matrix_costs_no_clip(tmp_path: Path, matrix: tuple[int, int, int, int]) -> None:
    clip = with_matrix(make_clip(tmp_path / "plain.mp4", audio="none"), tmp_path / "clip.mp4", *matrix)
    assert read_frames(clip, VideoRecipe(8, 56)).shape == (8, 3, 56, 56)


EDITS: list[tuple[list[Edit], list[int]]] = [
    ([(1.2, 1.0)], [*range(30, 55)]),
    ([(None, 0.5), (1.2, 1.0)], [*range(30, 55)]),
    ([(0.4, 0.4), (3.0, 0.6)], [*range(10, 20), *range(75, 90)]),
    ([(3.0, 0.6), (0.4, 0.4)], [*range(75, 90), *range(10, 20)]),
    ([(1.0, 0.4), (1.0, 0.4)], [*range(25, 35)] * 2),
]


@pytest.mark.parametrize(("edits", "shown"), EDITS)
def test_of_a_clip_that_was_trimmed_without_encoding_the_shown_frames_are_taken(
    tmp_path: Path, edits: list[Edit], shown: list[int]
) -> None:
    whole = numbered_clip(tmp_path / "whole.mp4", 100, {"g": "25", "bf": "2", "crf": "12"})
    clip = with_edits(whole, tmp_path / "trimmed.mp4", edits)
    assert numbers_in(clip) == [shown[index] for index in frame_indices(len(shown), 8)]
    assert probe_clip((clip, "pyav", "mean"))[0].frame_count == len(shown)


def test_frames_that_share_a_time_all_count(tmp_path: Path) -> None:
    whole = numbered_clip(tmp_path / "whole.mkv", 100, {"g": "25", "bf": "0", "crf": "12"})
    clip = remuxed(whole, tmp_path / "twice.mkv", same_time=60)
    times = shown_times(clip)
    assert (len(times), len(set(times))) == (100, 99)
    assert numbers_in(clip) == frame_indices(100, 8)


def test_frames_of_joined_recordings_whose_times_begin_again_keep_their_order(tmp_path: Path) -> None:
    late = make_episode(tmp_path / "late.flv", 2, begin_ms=60_000, tracks=(), options={"g": "25", "bf": "0"})
    early = make_episode(tmp_path / "early.flv", 1, tracks=(), options={"g": "25", "bf": "0"})
    clip = tmp_path / "joined.flv"
    clip.write_bytes(late.read_bytes() + early.read_bytes()[13:])  # without its head
    shown = [read_number(picture.transpose(2, 0, 1)) for picture in decoded(clip)]
    assert shown == [*range(50), *range(25)]
    assert numbers_in(clip) == [shown[index] for index in frame_indices(75, 8)]


def test_frames_that_are_only_referred_to_are_not_shown(tmp_path: Path) -> None:
    options = {"lag-in-frames": "0", "auto-alt-ref": "0", "crf": "4", "b": "2M", "deadline": "realtime"}
    whole = make_episode(tmp_path / "whole.webm", 2.4, codec="libvpx", options=options, tracks=())
    clip = remuxed(whole, tmp_path / "hidden.webm", hidden=(7, 20, 41))
    shown = [number for number in range(60) if number not in (7, 20, 41)]
    assert numbers_in(clip) == [shown[index] for index in frame_indices(57, 8)]
    assert probe_clip((clip, "pyav", "mean"))[0].frame_count == 57


def mpeg4_in_avi(folder: Path) -> Path:
    options = {"bf": "1", "g": "24", "qmin": "1", "qmax": "2"}
    return make_episode(folder / "plain.avi", 4, codec="mpeg4", options=options, tracks=())


def packed_avi(folder: Path) -> Path:
    return packed(mpeg4_in_avi(folder), folder / "packed.avi")


def h264_in_avi(folder: Path) -> Path:
    return make_episode(folder / "h264.avi", 4, tracks=())


@pytest.mark.parametrize("make", [mpeg4_in_avi, packed_avi, h264_in_avi])
def test_a_container_without_times_gives_its_frames_in_order_of_display(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    clip = make(tmp_path)
    with av.open(str(clip)) as container:
        stamps = [frame.pts or 0 for frame in container.decode(video=0)]
    assert make is mpeg4_in_avi or stamps != sorted(stamps), "its times would do"
    assert numbers_in(clip) == frame_indices(100, 8)
    facts = probe_clip((clip, "pyav", "mean"))[0]
    assert (facts.frame_count, facts.video_problem) == (100, None)
    assert facts.video_seconds == pytest.approx(4, abs=0.2)


OPEN_GROUPS = {
    "libx265": {"x265-params": "log-level=none:open-gop=1:keyint=25:min-keyint=25:bframes=4:scenecut=0", "crf": "12"},
    "mpeg2video": {"bf": "2", "g": "25", "qmin": "1", "qmax": "2"},
}


@pytest.mark.parametrize("codec", OPEN_GROUPS)
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_of_a_clip_cut_without_encoding_at_an_open_group_players_frames_are_taken(
    tmp_path: Path, codec: str, suffix: str
) -> None:
    whole = make_episode(tmp_path / "whole.mkv", 4, codec=codec, options=OPEN_GROUPS[codec], tracks=())
    clip = begun_at_second_key_frame(whole, tmp_path / f"cut.{suffix}")
    shown = [read_number(picture.transpose(2, 0, 1)) for picture in decoded(clip)]
    with av.open(str(clip)) as container:
        stored = sum(packet.size > 0 for packet in container.demux(video=0))
    assert len(shown) < stored, "every frame can be decoded: the group was not open"
    assert shown[0] in range(20, 30)
    assert numbers_in(clip) == [shown[index] for index in frame_indices(len(shown), 8)]


def test_a_clip_that_begins_between_key_frames_is_named_with_its_repair(tmp_path: Path) -> None:
    whole = numbered_clip(tmp_path / "whole.mkv", 100, {"g": "25", "bf": "0"})
    clip = remuxed(whole, tmp_path / "cut.mkv", skipped=range(10))
    with pytest.raises(ClipError, match=r"15 of its 90 frames cannot be shown\. It was cut without re-encoding"):
        read_frames(clip, VideoRecipe(8, 64))


def test_of_several_video_tracks_the_default_one_is_taken_and_never_a_still_picture(tmp_path: Path) -> None:
    clip = tmp_path / "tracks.mkv"
    pictures = decoded(numbered_clip(tmp_path / "whole.mp4", 30, {"crf": "12"}))
    with av.open(str(clip), "w") as container:
        tracks = [container.add_stream(codec, rate=25) for codec in ("mjpeg", "libx264", "libx264", "libx264")]
        for track in tracks:
            track.width = track.height = 64
            track.pix_fmt = "yuvj420p" if track is tracks[0] else "yuv420p"
            track.time_base = track.codec_context.time_base = Fraction(1, 25)
        tracks[0].disposition = tracks[2].disposition = av.stream.Disposition.default
        tracks[1].disposition = tracks[3].disposition = av.stream.Disposition(0)
        for track, shown in zip(tracks, ([9], [7] * 20, range(10, 30), range(5)), strict=True):
            for number, time in zip(shown, range(30), strict=False):
                frame = av.VideoFrame.from_ndarray(pictures[number], format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 25)
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
    assert numbers_in(clip) == [10 + index for index in frame_indices(20, 8)]
    assert probe_clip((clip, "pyav", "mean"))[0].frame_count == 20
    assert read_number(np.asarray(first_picture(clip)).transpose(2, 0, 1)) == 10
