"""Facts about a clip: its tracks, and whether its frames and its sound can be used."""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import av
import numpy as np

from trimood.config.parameters import Reader, Stereo
from trimood.media.audio import read_waveform
from trimood.media.contents import content_name
from trimood.media.errors import ClipError, PreparationError, may_pass
from trimood.media.facts import ClipFacts
from trimood.media.files import audio_track, decodable, open_media, video_track
from trimood.media.recipes import AudioRecipe, VideoRecipe
from trimood.media.video import as_shown, orientation, read_frames, shown_times

Read = TypeVar("Read")

UNEVEN_SHARE = 0.1
"""Frames are unevenly timed if their gaps differ by more than this share of the median gap, and by more than two ticks
of the track's clock (the effect of rounding)."""

QUIETEST_DBFS = -120.0
"""The level of silence, so that it stays finite."""


def probe_clip(task: tuple[Path, Reader, Stereo]) -> tuple[ClipFacts, bool]:
    """The facts of a clip, and whether they are lasting: not those after a temporary failure of a disk or network.

    Takes (clip, reader of frames, what is heard of stereo) as one value, as `trimood.media.execution.run_each` passes
    it. Raises ClipError for a file that is missing or cannot be opened, and PreparationError.

    Reads the tracks once, then frames and sound as the preparation does.
    """
    path, reader, stereo = task
    content = content_name(path)
    rate_hz = AudioRecipe().sample_rate_hz
    tracks, passed_over = _tried(lambda: _tracks(path))  # the readers below report problems of such a file
    _, no_frames = _tried(lambda: read_frames(path, VideoRecipe(reader=reader)))
    waveform, no_sound = _tried(lambda: read_waveform(path, rate_hz, stereo))
    found, heard = _finding(path, no_frames), _finding(path, no_sound)
    facts = replace(tracks or ClipFacts(), content=content)
    if found:
        facts = replace(facts, video_problem=found.problem, video_detail=found.detail)
    if heard:
        facts = replace(facts, audio_problem=heard.problem, audio_detail=heard.detail)
    if waveform is not None:
        samples, seconds = waveform.numpy(), round(len(waveform) / rate_hz, 3)
        loudness = _decibels(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))
        peak = _decibels(float(np.abs(samples).max()))
        facts = replace(facts, audio_seconds=seconds, peak_dbfs=peak, loudness_dbfs=loudness)
    elif facts.audio_problem == "silent":
        facts = replace(facts, peak_dbfs=QUIETEST_DBFS, loudness_dbfs=QUIETEST_DBFS)
    return facts, not any(error and may_pass(error) for error in (passed_over, no_frames, no_sound))


def first_picture(path: Path) -> np.ndarray:
    """The first frame that can be decoded, [height, width, 3] uint8, stored 160 pixels high. Raises ClipError."""
    try:
        with open_media(path) as container:
            for frame in container.decode(video_track(container) or []):
                width = max(1, round(160 * frame.width / frame.height))
                picture = frame.to_ndarray(format="rgb24", width=width, height=160)
                return np.ascontiguousarray(as_shown(picture, orientation(frame)))
    except Exception as error:
        raise ClipError(path, "unreadable", f"no frame of it can be decoded ({error})") from error
    raise ClipError(path, "unreadable", "it has no frame")


def _tried(read: Callable[[], Read]) -> tuple[Read | None, Exception | None]:
    """The result, or the exception as a finding about the clip. Raises PreparationError, which is none."""
    try:
        return read(), None
    except PreparationError:
        raise
    except Exception as error:
        return None, error


def _finding(path: Path, error: Exception | None) -> ClipError | None:
    if error is None or isinstance(error, ClipError):
        return error
    return ClipError(path, "unreadable", f"{type(error).__name__}: {error}")


def _tracks(path: Path) -> ClipFacts:
    """Facts from the container and its packets; decodes only the first frame, for its rotation."""
    with open_media(path) as container:
        video, audio = video_track(container), audio_track(container)
        tracks = [*([decodable(video)] if video else []), *([audio] if audio else [])]
        facts = ClipFacts(size_bytes=path.stat().st_size, container=container.format.name)
        shown: list[int] = []
        rotation, sound_ticks = None, 0
        for packet in container.demux(tracks):
            if packet.stream is audio or packet.size == 0:
                sound_ticks += packet.duration or 0 if packet.size else 0
                continue
            if packet.pts is not None and not packet.is_discard:
                shown.append(packet.pts)
            if rotation is None:
                rotation = _rotation(packet)
        if video is not None:
            facts = replace(
                facts,
                video_codec=video.codec_context.name,
                width=video.width,
                height=video.height,
                rotation_degrees=rotation,
            )
            times, _ = _tried(lambda: shown_times(path))
            facts = _timed(facts, sorted(shown) if times is None else times, float(video.time_base))
        if audio is not None:
            facts = replace(
                facts,
                audio_codec=audio.codec_context.name,
                sample_rate_hz=audio.rate,
                channels=audio.channels,
                audio_seconds=round(float(sound_ticks * audio.time_base), 3),
            )
    return facts


def _rotation(packet: av.Packet) -> int | None:
    with suppress(av.error.FFmpegError):
        return next((round(frame.rotation) % 360 for frame in packet.decode()), None)
    return None


def _timed(facts: ClipFacts, times: Sequence[int], tick_seconds: float) -> ClipFacts:
    """Count, duration and evenness of the displayed frames; the last is assumed to last for the median gap."""
    if len(times) < 2:
        return replace(facts, frame_count=len(times))
    gaps = np.diff(times)
    middle = float(np.median(gaps))
    seconds = (times[-1] - times[0] + middle) * tick_seconds
    return replace(
        facts,
        frame_count=len(times),
        video_seconds=round(seconds, 3),
        frames_per_second=round(len(times) / seconds, 3) if seconds > 0 else None,
        variable_frame_rate=float(gaps.max() - gaps.min()) > max(2.0, UNEVEN_SHARE * middle),
    )


def _decibels(level: float) -> float:
    return round(max(QUIETEST_DBFS, 20 * math.log10(level)), 1) if level > 0 else QUIETEST_DBFS
