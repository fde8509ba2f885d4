"""Cuts clips from episodes: each is re-encoded, marked with its source, and checked.

A clip cut without re-encoding would begin at a key frame before its span, or show broken pictures until the next one.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import lru_cache
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Literal

import av
import numpy as np

from trimood.disk import written_whole
from trimood.media.completeness import missing_end
from trimood.media.episodes import file_fingerprint
from trimood.media.errors import ClipError
from trimood.media.excerpts import SpanError, frames_within, samples_within, video_end
from trimood.media.execution import Execution, run_each
from trimood.media.files import audio_track, decodable, open_media, video_track
from trimood.media.video import Orientation, as_shown, orientation

State = Literal["cut", "kept", "refused"]

_TICKS_PER_SECOND = 90000  # as in MPEG: a whole number per frame at 24, 25 and 30 fps; 3753.75 at 24000/1001 fps
_CLOCK = Fraction(1, _TICKS_PER_SECOND)
_ALLOWED_SECONDS = 0.002  # allowed difference between span and clip: rounding to the clock's ticks
_SOUND_GAP_SECONDS = 0.1
_MADE_BY = "trimood cut_clips"
_AAC_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_USUAL_LAYOUTS = {"1 channels": "mono", "2 channels": "stereo", "6 channels": "5.1", "8 channels": "7.1"}  # of PCM
_AAC_LAYOUTS = ("mono", "stereo", "3.0", "4.0", "5.0", "5.1", "5.1(side)", "5.0(side)", "7.1")


@dataclass(frozen=True)
class CutRecipe:
    """x264's `crf` (quality, lower is better) and `preset`; the language of the sound, as ISO 639-2 ("eng")."""

    crf: int = 18
    preset: str = "veryfast"
    audio_language: str = "eng"


@dataclass(frozen=True)
class Span:
    """The clip to cut and its span of an episode file, in whole milliseconds, as annotations have them.

    With `may_outlast`, a span that begins within the file and ends after it is cut at its end, as players show the last
    subtitle; otherwise it is refused.
    """

    clip: Path
    episode: Path
    start_milliseconds: int
    end_milliseconds: int
    may_outlast: bool = False

    @property
    def seconds(self) -> tuple[Fraction, Fraction]:
        """Start and end."""
        return Fraction(self.start_milliseconds, 1000), Fraction(self.end_milliseconds, 1000)


@dataclass(frozen=True)
class CutTask:
    """A span, the fingerprint of its episode, and how to cut it."""

    span: Span
    episode_fingerprint: str
    recipe: CutRecipe
    overwrite: bool = False


@dataclass(frozen=True)
class Cut:
    """The result of a task: the problem (an identifier) and its detail if refused, else facts about the clip."""

    state: State
    problem: str = ""
    detail: str = ""
    frame_count: int = 0
    video_seconds: float = 0.0
    audio_seconds: float = 0.0
    audio_track: str = ""


def cut_all(
    spans: Sequence[Span], recipe: CutRecipe, execution: Execution, overwrite: bool = False
) -> Iterator[tuple[Span, Cut | ClipError]]:
    """Cuts each span with `cut_clip`; yields results as they finish. A ClipError means timed_out or crashed."""
    fingerprints = {episode: file_fingerprint(episode) for episode in {span.episode for span in spans}}
    tasks = [CutTask(span, fingerprints[span.episode], recipe, overwrite) for span in spans]
    for task, cut in run_each(cut_clip, tasks, execution, lambda task: task.span.clip):
        yield task.span, cut


def cut_clip(task: CutTask) -> Cut:
    """Cuts the clip, or keeps one that was cut from the same span and file with the same recipe, or refuses.

    A clip that this function did not cut is only replaced with `overwrite`. The clip is moved to its place after it has
    passed its check. Raises DiskFull.
    """
    if task.span.may_outlast:
        task = replace(task, span=_within_file(task.span, task.episode_fingerprint))
    span, clip = task.span, task.span.clip
    before, mark = _mark_of(clip) if clip.exists() else {}, _mark(task)
    audio_track = str(before.pop("audio_track", ""))
    if before == mark:
        with suppress(av.error.FFmpegError, OSError, SpanError):
            return _checked(clip, span, "kept", audio_track)
    elif clip.exists() and before.get("made_by") != _MADE_BY and not task.overwrite:
        return Cut("refused", "not_cut_here", "this file exists and was not cut by this command; it is kept unchanged")
    if span.end_milliseconds <= span.start_milliseconds:
        detail = f"the span is empty: its end, {span.end_milliseconds / 1000:.3f} s, is not after its start"
        return Cut("refused", "empty_span", detail)
    try:
        with written_whole(clip) as beside:
            return _checked(beside, span, "cut", _write(beside, task, mark))
    except SpanError as error:
        return Cut("refused", error.problem, error.detail)
    except (av.error.FFmpegError, ValueError) as error:
        return Cut("refused", "unreadable", f"{span.episode.name} cannot be decoded within the span ({error})")


def _within_file(span: Span, fingerprint: str) -> Span:
    """The span, until the end of its file if that is earlier, unless the file was cut short."""
    end = _end_milliseconds(span.episode, fingerprint)
    if end is not None and span.start_milliseconds < end < span.end_milliseconds:
        return replace(span, end_milliseconds=end)
    return span


@lru_cache
def _end_milliseconds(episode: Path, fingerprint: str) -> int | None:
    """The end of a file, which is read once for all of its spans; None if it was cut short or is unreadable."""
    with suppress(av.error.FFmpegError, ValueError, OSError, ClipError):
        return None if missing_end(episode) else int(1000 * video_end(episode))
    return None


def _write(beside: Path, task: CutTask, mark: dict[str, object]) -> str:
    """Writes the clip; returns a description of the audio track that was used."""
    episode, (start, end) = task.span.episode, task.span.seconds
    frames = frames_within(episode, start, end)
    _, first = next(frames)  # at least one, or SpanError
    options = {"movflags": "+faststart", "video_track_timescale": str(_TICKS_PER_SECOND)}
    with open_media(episode) as source, av.open(str(beside), "w", format="mp4", options=options) as container:
        track = audio_track(source, task.recipe.audio_language)
        label = _described(track, source.streams.audio) if track else ""
        pieces = samples_within(episode, start, end, track.index) if track else iter(())
        container.metadata["comment"] = json.dumps(mark | {"audio_track": label})
        video = _video_stream(container, video_track(source), first, task.recipe)
        streams = [_video_packets(video, first, chain(frames, [(end - start, None)]))]
        if track and (sound := next(pieces, None)) is not None:
            streams.append(_audio_packets(container, track, chain([sound], pieces)))
        for packet in merge(*streams, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return label


def _video_stream(
    container: av.container.OutputContainer, source: av.VideoStream, frame: av.VideoFrame, recipe: CutRecipe
) -> av.VideoStream:
    # Without B-frames, frames are stored in display order: every reader sees the clip start at 0 and end with its span.
    options = {"crf": str(recipe.crf), "preset": recipe.preset, "bf": "0"}
    track = container.add_stream("libx264", rate=source.average_rate or source.guessed_rate or 25, options=options)
    # H.264 stores colours at half resolution, so an odd width or height loses its last line.
    size, (is_turned, *_) = (frame.width // 2 * 2, frame.height // 2 * 2), orientation(frame)
    track.width, track.height = reversed(size) if is_turned else size
    track.pix_fmt = "yuv420p"
    track.thread_count = 1  # clips are cut in parallel
    track.time_base = track.codec_context.time_base = _CLOCK
    if shape_of_pixels := source.codec_context.sample_aspect_ratio:
        track.codec_context.sample_aspect_ratio = 1 / shape_of_pixels if is_turned else shape_of_pixels
    for name in ("color_primaries", "color_trc", "colorspace"):
        setattr(track.codec_context, name, getattr(frame, name))
    return track


def _video_packets(
    track: av.VideoStream, frame: av.VideoFrame, followed_by: Iterator[tuple[Fraction, av.VideoFrame | None]]
) -> Iterator[av.Packet]:
    """The frames as H.264, each from its own time until that of the next; None ends the span."""
    durations: dict[int, int] = {}

    def encoded(picture: av.VideoFrame | None) -> Iterator[av.Packet]:
        for packet in track.encode(picture):
            packet.duration = durations.pop(packet.pts)
            yield packet

    now = 0
    for time, following in followed_by:
        tick = max(now + 1, round(time / _CLOCK))
        durations[now] = tick - now
        picture = _upright(frame.reformat(frame.width // 2 * 2, frame.height // 2 * 2, "yuv420p"), orientation(frame))
        picture.pts, picture.time_base, picture.pict_type = now, _CLOCK, 0  # x264 chooses its own key frames
        yield from encoded(picture)
        frame, now = following, tick
    yield from encoded(None)


def _upright(picture: av.VideoFrame, turned: Orientation) -> av.VideoFrame:
    """A yuv420p picture as players show it; its three planes are turned and mirrored alike."""
    if not any(turned):
        return picture
    rows, columns, content = picture.height, picture.width, picture.to_ndarray().ravel()
    planes = np.split(content, [rows * columns, rows * columns * 5 // 4])
    shapes = [(rows, columns), (rows // 2, columns // 2), (rows // 2, columns // 2)]
    shown = [as_shown(plane.reshape(shape), turned) for plane, shape in zip(planes, shapes, strict=True)]
    return av.VideoFrame.from_ndarray(
        np.concatenate([plane.ravel() for plane in shown]).reshape(-1, shown[0].shape[1]), format="yuv420p"
    )


def _audio_packets(
    container: av.container.OutputContainer, source: av.AudioStream, pieces: Iterator[np.ndarray]
) -> Iterator[av.Packet]:
    """The sound as AAC, with its own rate and channels if AAC supports them."""
    rate, layout = source.rate, _USUAL_LAYOUTS.get(source.layout.name, source.layout.name)
    folded = layout not in _AAC_LAYOUTS  # mixed to mono here: FFmpeg's mix to stereo changes the loudness
    layout = "mono" if folded else layout
    aac_rate = rate if rate in _AAC_RATES_HZ else 48000
    track = container.add_stream("aac", rate=aac_rate, layout=layout.replace("(side)", ""))

    def packets() -> Iterator[av.Packet]:
        position = 0
        for samples in pieces:
            piece = samples.mean(axis=0, keepdims=True) if folded else samples
            frame = av.AudioFrame.from_ndarray(piece.T.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, position, Fraction(1, rate)
            position += piece.shape[1]
            yield from track.encode(frame)
        yield from track.encode(None)

    return packets()


def _described(track: av.AudioStream, tracks: Sequence[av.AudioStream]) -> str:
    return f"{tracks.index(track) + 1} of {len(tracks)} ({track.language or 'no language given'})"


def _checked(clip: Path, span: Span, state: State, audio_track: str) -> Cut:
    """Compares the written file with the span. Raises SpanError if they differ."""
    wanted = (span.end_milliseconds - span.start_milliseconds) / 1000
    with open_media(clip) as container:
        announced = container.streams.video[0].frames
        has_sound = bool(container.streams.audio)
        ends = {"video": 0.0, "audio": 0.0}
        frame_count = 0
        for packet in container.demux():
            if packet.size and not packet.is_discard:
                kind = packet.stream.type
                frame_count += kind == "video"
                ends[kind] = max(ends[kind], float((packet.pts + packet.duration) * packet.time_base))
    if frame_count != announced or abs(ends["video"] - wanted) > _ALLOWED_SECONDS:
        raise SpanError(
            "check_failed",
            f"the clip did not pass its check: it has {frame_count} of {announced} frames and lasts "
            f"{ends['video']:.3f} s, not {wanted:.3f} s",
        )
    detail = "" if has_sound else "no sound"
    if has_sound and ends["audio"] < wanted - _SOUND_GAP_SECONDS:
        detail = f"the sound ends after {ends['audio']:.3f} s of {wanted:.3f} s"
    return Cut(state, "", detail, frame_count, ends["video"], ends["audio"], audio_track if has_sound else "")


def _mark(task: CutTask) -> dict[str, object]:
    """The source and recipe of a clip, stored in the clip's own metadata, so that moving it keeps them."""
    mark: dict[str, object] = {
        "made_by": _MADE_BY,
        "episode": task.episode_fingerprint,
        "span_milliseconds": [task.span.start_milliseconds, task.span.end_milliseconds],
        "recipe": asdict(task.recipe),
    }
    # Earlier versions did not turn the pictures of such episodes: their clips have no such note, and are cut again.
    return mark | ({"turned": True} if _is_turned(task.span.episode) else {})


def _is_turned(episode: Path) -> bool:
    with suppress(av.error.FFmpegError, ValueError, OSError), open_media(episode) as container:
        if track := video_track(container):
            frame = next(container.decode(decodable(track)), None)
            return frame is not None and any(orientation(frame))
    return False


def _mark_of(clip: Path) -> dict[str, object]:
    try:
        with open_media(clip) as container:
            mark = json.loads(container.metadata.get("comment", ""))
    except (av.error.FFmpegError, OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}
