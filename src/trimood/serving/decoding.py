"""Opens and decodes clips that anybody may have sent, in a process of its own that is killed beyond its limits."""

import math
import multiprocessing
import re
import resource
import signal
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
from pebble import ProcessExpired, ProcessPool

from trimood.config.parameters import ServingParams
from trimood.media.errors import ClipError, Result, Task, attempt, how_it_ended
from trimood.media.execution import Execution
from trimood.media.files import audio_track, open_media, video_track
from trimood.media.on_processes import PRELOADED, start_worker
from trimood.model.memory import lacks_memory
from trimood.serving.predictor import Prediction, Predictor, Refusal, TimeIsUp, Utterance
from trimood.serving.requests import BadRequest

_PREPARES = "trimood.media.cache"
"""The module whose function prepares clips; it is imported before the memory is limited."""

_SHORTEST_PACKET_SECONDS = 0.001
"""The shortest packets of a codec are those of Opus, 2.5 ms; a file with shorter ones is made to waste time."""


class Busy(BadRequest):
    """Earlier requests took all of this request's time."""


class Decoder:
    """Predicts clips that are opened and decoded in another process only; one request at a time.

    The process starts with the first clip, may use `decoding_megabytes` beyond its libraries, and is killed and
    replaced when a request takes more than `time_limit_seconds`.
    """

    def __init__(self, limits: ServingParams) -> None:
        self.limits = limits
        self._turn = threading.Lock()
        self._pool: ProcessPool | None = None

    def predict(self, predictor: Predictor, utterances: Sequence[Utterance]) -> list[Prediction | Refusal]:
        """Returns a result for each utterance, in order.

        Raises BadRequest if clips exceed the limits, which are checked before any clip is decoded, or if the time is
        up, and Busy if earlier requests took all the time.
        """
        seconds = self.limits.time_limit_seconds
        if not self._turn.acquire(timeout=seconds):
            raise Busy(f"the server was busy with earlier requests for {seconds:g} s. Send the request again later.")
        try:
            self.start()  # imports take seconds, which are not the request's
            until = time.monotonic() + seconds
            self._check([utterance for utterance in utterances if utterance.clip], until)
            return predictor.predict(utterances, Execution(work=self._work_until(until)), until)
        except TimeIsUp:
            raise BadRequest(f"the request: {self._too_slow()}") from None
        finally:
            self._turn.release()

    def start(self) -> None:
        """Returns when the process is ready."""
        self._call(Path(), math.inf, _exceeded, Path(), self.limits)

    def _check(self, utterances: Sequence[Utterance], until: float) -> None:
        problems = []
        for utterance in utterances:
            found = self._call(utterance.clip, until, _exceeded, utterance.clip, self.limits, utterance.span)
            if detail := found.detail if isinstance(found, ClipError) else found:
                problems.append(f"{utterance.name}: {detail}")
        if problems:
            raise BadRequest("\n".join(problems))

    def _work_until(self, until: float) -> Callable[..., Iterator[tuple[Any, Any]]]:
        """The `work` of an Execution: each task is done in the process, one after the other."""

        def work(
            function: Callable[[Task], Result], tasks: Sequence[Task], clip_of: Callable[[Task], Path]
        ) -> Iterator[tuple[Task, Any]]:
            for task in tasks:
                result = self._call(clip_of(task), until, attempt, function, task)
                yield task, self._with_the_limit_named(result, clip_of(task))

        return work

    def _call(self, clip: Path | None, until: float, function: Callable[..., Any], *arguments: object) -> Any:
        """Returns the function's result, or a ClipError if the time is up or the process dies."""
        left = until - time.monotonic()
        if left <= 0:
            return ClipError(clip or Path(), "timed_out", self._too_slow())
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # as in trimood.media.on_processes
        try:
            doing = self._running_pool().schedule(function, arguments, timeout=None if math.isinf(left) else left)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            return doing.result()
        except TimeoutError:
            return ClipError(clip or Path(), "timed_out", self._too_slow())
        except ProcessExpired as error:
            how = how_it_ended(error.exitcode).partition(";")[0]
            return ClipError(clip or Path(), "crashed", f"the process that decoded it died ({how}). {self._memory()}")

    def _running_pool(self) -> ProcessPool:
        if self._pool is None or not self._pool.active:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(PRELOADED)
            self._pool = ProcessPool(1, initializer=_start, initargs=(self.limits.decoding_megabytes,), context=context)
            weakref.finalize(self, _stop, self._pool)
        return self._pool

    def _with_the_limit_named(self, result: Any, clip: Path) -> Any:
        errors = result.values() if isinstance(result, dict) else [result]
        if any(isinstance(error, Exception) and lacks_memory(error) for error in errors):
            return ClipError(clip, "unreadable", self._memory())
        return result

    def _too_slow(self) -> str:
        return f"not finished after {self.limits.time_limit_seconds:g} s (TRIMOOD_TIME_LIMIT_SECONDS)"

    def _memory(self) -> str:
        megabytes = self.limits.decoding_megabytes
        return f"Decoding a clip may take {megabytes} MB of memory (TRIMOOD_DECODING_MEGABYTES)."


def _start(megabytes: int) -> None:
    """Prepares the process: imports all it needs, then limits the memory that it can still allocate."""
    start_worker(_PREPARES)
    status = Path("/proc/self/status")  # without it, as on macOS, memory is not limited
    if status.is_file() and (held := re.search(r"VmData:\s+(\d+) kB", status.read_text())):
        limit = int(held[1]) * 1024 + megabytes * 1_000_000
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _stop(pool: ProcessPool) -> None:
    pool.stop()
    pool.join()


def _exceeded(clip: Path, limits: ServingParams, span: tuple[int, int] | None = None) -> str:
    """Says which limit the clip exceeds, by its headers and packets; "" if none, or if it cannot be opened.

    Of a clip of which only a span is read, in milliseconds, the span must not be too long, nor have too many frames.
    FFmpeg decodes a frame of some codecs when it opens a file, but none above `max_pixels`.
    """
    largest = int(limits.largest_frame_megapixels * 1e6)
    try:
        with open_media(clip, max_pixels=str(largest)) as container:
            track = video_track(container)
            if track and track.codec_context and not 0 < track.width * track.height <= largest:
                known = f"{track.width}x{track.height} pixels" if track.width else "no known size, or too many pixels"
                return (
                    f"its frames have {known}; the maximum is {limits.largest_frame_megapixels:g} megapixels "
                    "(TRIMOOD_LARGEST_FRAME_MEGAPIXELS)."
                )
            if span is None:
                return _too_long(container, limits)
            if span[1] - span[0] > 1000 * limits.longest_seconds:
                return _lasts_too_long(limits)
            return _too_many_frames(container, limits, *span)
    except MemoryError:
        return f"opening it takes more than {limits.decoding_megabytes} MB of memory (TRIMOOD_DECODING_MEGABYTES)."
    except (av.error.FFmpegError, OSError, ValueError):
        return ""  # its preparation says what is wrong


def _too_long(container: av.container.InputContainer, limits: ServingParams) -> str:
    """Counts frames and adds up the durations of packets until a limit is exceeded; decodes nothing."""
    video = video_track(container)
    tracks = [track for track in (video, audio_track(container)) if track is not None]
    counts = dict.fromkeys((track.index for track in tracks), 0)
    first: dict[int, float] = {}
    played = dict.fromkeys(counts, 0.0)
    for packet in container.demux(tracks) if tracks else ():
        if not packet.size:
            continue
        index, tick = packet.stream_index, float(packet.time_base)
        counts[index] += 1
        if not packet.is_discard:  # an edit list leaves out the others
            played[index] += max((packet.duration or 0) * tick, _SHORTEST_PACKET_SECONDS)
            if packet.pts is not None:
                at = packet.pts * tick
                played[index] = max(played[index], at - first.setdefault(index, at))
        if video is not None and counts[video.index] > limits.most_frames:
            return _has_too_many_frames(limits)
        if played[index] > limits.longest_seconds:
            return _lasts_too_long(limits)
    return ""


def _too_many_frames(
    container: av.container.InputContainer, limits: ServingParams, start_milliseconds: int, end_milliseconds: int
) -> str:
    """Counts the frames within a span by their packets, from the key frame before it; decodes nothing."""
    if (video := video_track(container)) is None:
        return ""
    origin = (container.start_time or 0) / av.time_base  # players show it as 0, as does `media.excerpts`
    start, end = (origin + milliseconds / 1000 for milliseconds in (start_milliseconds, end_milliseconds))
    with suppress(av.error.FFmpegError):  # formats that cannot seek are read from their beginning
        container.seek(int(start * av.time_base), backward=True)
    count = 0
    for packet in container.demux(video):
        if not packet.size:
            continue
        shown = packet.dts if packet.pts is None else packet.pts
        tick = float(packet.time_base)
        count += shown is None or start <= shown * tick < end
        if count > limits.most_frames:
            return _has_too_many_frames(limits)
        if packet.dts is not None and packet.dts * tick >= end:  # no frame is shown before it is decoded
            break
    return ""


def _has_too_many_frames(limits: ServingParams) -> str:
    return f"it has more than {limits.most_frames:,} frames, the maximum (TRIMOOD_MOST_FRAMES)."


def _lasts_too_long(limits: ServingParams) -> str:
    return f"it lasts more than {limits.longest_seconds:g} s, the maximum (TRIMOOD_LONGEST_SECONDS)."
