"""Frames and samples within a span of a file, exact to the frame and the sample, with little decoding before the span.

Times count from the beginning of the file as players show it: from the container's start time, which need not be zero.
"""

from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from itertools import chain, count
from math import ceil
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.audio.resampler import AudioResampler

from trimood.media.audio import samples_of
from trimood.media.completeness import missing_end
from trimood.media.files import decodable, open_media, video_track
from trimood.media.video import decoded_in_order, has_times, sorted_stamps

# After seeking, the first decoded frames and samples are not exact; one second is enough.
_RUN_UP_SECONDS = 1
_GAP_SECONDS = Fraction(1, 10)  # containers round times to about a millisecond: a larger difference is a real gap
# DVD files: only some frames have time stamps; after seeking, FFmpeg's guesses for the others are two frames off.
_UNSURE_FORMAT = "mpeg"
_RE_ENCODE = "Re-encode the episode, or use another copy"
_MICROSECONDS = 1_000_000

Item = TypeVar("Item")


class SpanError(Exception):
    """A span that cannot be read from an episode: `problem` is an identifier, `detail` a description."""

    def __init__(self, problem: str, detail: str) -> None:
        super().__init__(problem, detail)
        self.problem = problem
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


def frames_within(path: Path, start: Fraction, end: Fraction) -> Iterator[tuple[Fraction, av.VideoFrame]]:
    """The frames shown from `start` until before `end` (seconds), each with its time from `start`.

    The first is the frame shown at `start`, and has time 0. Raises SpanError if the file ends before the span does or a
    frame cannot be decoded, and FFmpeg's own errors.
    """
    found = _from_before(start, lambda seek_to: _frames_from(path, seek_to), lambda first: first[0] <= start)
    shown, last_end = next(found, None), Fraction(0)
    while shown is not None and shown[0] < end:
        following = next(found, None)
        time, frame, duration = shown
        if following is None or following[0] > start:
            if frame.is_corrupt:
                raise SpanError("unreadable", f"the frame at {float(time):.3f} s cannot be decoded completely")
            yield max(Fraction(0), time - start), frame
        last_end = time + duration
        shown = following
    if shown is None and last_end < end - _GAP_SECONDS:
        why = f"; the file was cut short: {lacking}" if (lacking := missing_end(path)) else ""
        detail = f"the video ends at {float(last_end):.3f} s, before the end of the span{why}"
        raise SpanError("beyond_the_end", detail)


def video_end(path: Path) -> Fraction:
    """When the last frame ends, in seconds, by the packets. Raises ValueError without video, and FFmpeg's errors."""
    with open_media(path) as container:
        if (track := video_track(container)) is None:
            raise ValueError("it has no video track")
        usual = 1 / Fraction(track.average_rate or track.guessed_rate or 25)
        ends = [
            (packet.dts if packet.pts is None else packet.pts) * packet.time_base
            + (packet.duration * packet.time_base if packet.duration else usual)
            for packet in container.demux(track)
            if packet.size and not packet.is_discard and (packet.pts is not None or packet.dts is not None)
        ]
        return max(ends, default=Fraction(0)) - Fraction(container.start_time or 0, _MICROSECONDS)


def _from_before(
    start: Fraction, read_from: Callable[[Fraction], Generator[Item]], is_early: Callable[[Item], bool]
) -> Iterator[Item]:
    """Items from a second before `start`, or from earlier where a seek ended after the start or found nothing."""
    run_up = Fraction(_RUN_UP_SECONDS)
    while True:
        found = read_from(start - run_up)
        first = next(found, None)
        if start <= run_up or (first is not None and is_early(first)):
            return found if first is None else chain([first], found)
        found.close()
        run_up *= 4


def _seek(container: av.container.InputContainer, seek_to: Fraction) -> Fraction:
    """Goes to the key frame before `seek_to`; returns the time stamp in seconds that players show as 0."""
    origin = Fraction(container.start_time or 0, _MICROSECONDS)
    if seek_to > 0:
        container.seek(round((seek_to + origin) * _MICROSECONDS), backward=True)
    return origin


def _frames_from(path: Path, seek_to: Fraction) -> Generator[tuple[Fraction, av.VideoFrame, Fraction]]:
    """Frames in display order with their times and durations, from the key frame before `seek_to`."""
    with open_media(path) as container:
        if container.format.name == _UNSURE_FORMAT:
            raise SpanError(
                "unreadable",
                f"{path.name} is an MPEG program stream, whose time stamps are not reliable after seeking. Copy it "
                f"into another container without re-encoding: ffmpeg -i {path.name} -c copy {path.stem}.mkv",
            )
        track = video_track(container)
        if track is None:
            raise SpanError("unreadable", "it has no video track")
        # Without times in the file, all frames from the first are counted.
        stamps = None if has_times(container, track) else _counted_stamps(path)
        seek_to = seek_to if stamps is None else Fraction(0)
        origin = _seek(container, seek_to)
        usual = 1 / Fraction(track.average_rate or track.guessed_rate or 25)
        key_time, before = None, Fraction(-1)
        for frame in container.decode(decodable(track)):
            stamp = frame.pts if frame.pts is not None else frame.dts
            if stamps is not None:
                stamp = next(stamps, None)
            if stamp is None:
                raise SpanError("unreadable", f"its frames have no time stamps. {_RE_ENCODE}")
            time = stamp * frame.time_base - origin
            if time < before:
                raise SpanError(
                    "unreadable", f"the time stamps of its frames decrease at {float(time):.3f} s. {_RE_ENCODE}"
                )
            before = time
            if key_time is None and seek_to <= 0:
                time = min(time, Fraction(0))  # if sound begins before the pictures, the first picture is shown from 0
            if key_time is None and (frame.key_frame or seek_to <= 0):
                key_time = time
            if key_time is not None and time >= key_time:  # earlier frames may refer to skipped ones
                yield time, frame, frame.duration * frame.time_base if frame.duration else usual


def _counted_stamps(path: Path) -> Iterator[int]:
    """The times of frames in order of display: those of the packets, from the one with which the first frame comes."""
    stamps = sorted_stamps(path)
    first = next(decoded_in_order(path), None)
    late = stamps.index(first.dts) if first is not None and first.dts in stamps else 0
    gap = stamps[-1] - stamps[-2] if len(stamps) > 1 else 1
    return chain(stamps[late:], count(stamps[-1] + gap, gap) if stamps else ())


def samples_within(path: Path, start: Fraction, end: Fraction, track_index: int) -> Iterator[np.ndarray]:
    """The sound from `start` until before `end` (seconds), in pieces [channel, sample] float32.

    Sample 0 is the first at or after `start`. Gaps before and between pieces are filled with silence, but not a gap at
    the end. Yields nothing if the track has no sound in the span. Raises FFmpeg's own errors.
    """
    found = _from_before(
        start,
        lambda seek_to: _sound_from(path, seek_to, track_index),
        lambda first: first[0] < start * first[2],
    )
    written: int | None = None
    for position, samples, rate in found:
        if written is None:
            written, last = ceil(start * rate), ceil(end * rate)
        wanted = samples[:, max(0, written - position) : max(0, last - position)]
        if wanted.shape[1]:
            if position > written:
                yield np.zeros((len(samples), position - written), dtype=np.float32)
                written = position
            yield wanted
            written += wanted.shape[1]
        if position >= last:
            return


def _sound_from(path: Path, seek_to: Fraction, track_index: int) -> Generator[tuple[int, np.ndarray, int]]:
    """The position of the first sample, counted from time 0; samples [channel, sample]; and their rate."""
    with open_media(path) as container:
        track = decodable(container.streams[track_index])
        rate, origin = track.rate, _seek(container, seek_to)
        to_float = AudioResampler(format="flt", rate=rate)
        position: int | None = None
        for frame in container.decode(track):
            if frame.pts is not None:
                stamp = (frame.pts * frame.time_base - origin) * rate
                if position is None or abs(stamp - position) > _GAP_SECONDS * rate:
                    position = round(stamp)
            position = position or 0
            for piece in to_float.resample(frame):
                samples = samples_of(piece)
                yield position, samples, rate
                position += samples.shape[1]
