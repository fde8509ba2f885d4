"""Frames of a clip as LanguageBind's video tower expects them, before the normalisation (done on the device)."""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor
from torch.nn import functional

from trimood.config.parameters import Reader
from trimood.media.errors import ClipError, PreparationError, reason
from trimood.media.files import decodable, open_media, require_file, video_track

RE_ENCODE = "It was cut without re-encoding: cut it again, or repair it with ffmpeg -i CLIP.mp4 REPAIRED.mp4"

MOST_ASPECT = 500


@dataclass(frozen=True)
class VideoRecipe:
    """The number of frames taken from a clip, the side of the square frames, and the library that reads them."""

    frame_count: int = 8
    frame_size_pixels: int = 224
    reader: Reader = "pyav"


@dataclass(frozen=True)
class _Packet:
    """A coded frame: its time in the track's time base, whether it is a key frame, and whether it is displayed."""

    time: int | None
    is_key: bool
    is_shown: bool


def read_frames(path: Path, recipe: VideoRecipe) -> Tensor:
    """Frames evenly spread over the clip, scaled and cropped, [frame, 3, height, width] uint8 (RGB).

    PyAV decodes only what these frames require, and holds one frame of full size at a time. Raises ClipError: missing,
    unreadable; PreparationError if the recipe's reader is not installed.
    """
    require_file(path)
    if recipe.reader == "decord":
        return _read_with_decord(path, recipe)
    try:
        packets = _packets(path)
        order = _times_in_order(packets)
        times = [order[index] for index in frame_indices(len(order), recipe.frame_count)]
        fitted = {
            time: fit_frame(torch.from_numpy(frame), recipe.frame_size_pixels)
            for time, frame in _decode(path, packets, set(times))
        }
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError(path, "unreadable", f"its frames cannot be decoded ({reason(error)})") from error
    if lost := sorted(set(times) - fitted.keys()):
        number = order.index(lost[0]) + 1
        raise ClipError(path, "unreadable", f"frame {number} of its {len(order)} frames cannot be decoded")
    return torch.stack([fitted[time] for time in times])


def _read_with_decord(path: Path, recipe: VideoRecipe) -> Tensor:
    """The frames that LanguageBind reads, [frame, 3, height, width] uint8, including those that decord misreads.

    Source: LanguageBind, languagebind/video/processing_video.py, `load_and_transform_video`.
    """
    try:
        import decord
    except ModuleNotFoundError as error:
        raise PreparationError(
            "data.clips.reader is decord, but decord is not installed: pip install 'trimood[decord]', or choose pyav."
        ) from error
    decord.logging.set_level(decord.logging.QUIET)
    try:
        with open_media(path):  # checks the format: decord's FFmpeg would also open a list of other files
            pass
        clip = decord.VideoReader(os.path.abspath(path), num_threads=1)  # clips are prepared in parallel
        frames = clip.get_batch(frame_indices(len(clip), recipe.frame_count)).asnumpy()
        return torch.stack([fit_frame(torch.from_numpy(frame), recipe.frame_size_pixels) for frame in frames])
    except av.error.FFmpegError as error:
        raise ClipError(path, "unreadable", f"its frames cannot be decoded ({reason(error)})") from error
    except (decord.DECORDError, RuntimeError, IndexError, ValueError) as error:
        raise ClipError(path, "unreadable", f"decord cannot read its frames ({_decord_message(error)})") from error


def _decord_message(error: Exception) -> str:
    """decord's message without the time, the line of source code, the path of the clip, and the C++ stack."""
    line = str(error).partition("\n")[0]
    return re.sub(r"^\[[\d:]+\] \S+: |^(Error reading) .*", r"\1", line)


def frame_indices(available: int, wanted: int) -> list[int]:
    """Positions of `wanted` frames from the first to the last of `available`, truncated to whole numbers.

    A clip with fewer frames repeats some. Raises ValueError if there is no frame.
    Source: LanguageBind, languagebind/video/processing_video.py, `load_and_transform_video`.
    """
    if available < 1:
        raise ValueError("the video track has no frame")
    indices: list[int] = np.linspace(0, available - 1, wanted, dtype=int).tolist()
    return indices


def fit_frame(frame: Tensor, size_pixels: int) -> Tensor:
    """One frame [height, width, 3] uint8 with its short side scaled to `size_pixels`, cropped to the central square.

    Returns [3, size_pixels, size_pixels] uint8, rounded. Bilinear without antialiasing, the long side rounded down as
    in pytorchvideo's ShortSideScale, the crop's corner rounded to even as in torchvision's CenterCropVideo.
    LanguageBind normalises before scaling; scaling is linear, so only the rounding differs.
    Raises ValueError for a narrow strip, which scaling would turn into gigabytes.
    """
    height, width = frame.shape[:2]
    if max(height, width) > MOST_ASPECT * min(height, width):
        raise ValueError(f"it has {width}x{height} pixels: one side is more than {MOST_ASPECT} times the other")

    if width < height:
        scaled = (math.floor(height / width * size_pixels), size_pixels)
    else:
        scaled = (size_pixels, math.floor(width / height * size_pixels))
    pixels = frame.permute(2, 0, 1)[None]  # [1, 3, height, width]
    if scaled != (height, width):
        pixels = functional.interpolate(
            pixels.float(), size=scaled, mode="bilinear", align_corners=False, antialias=False
        )
    top, left = round((scaled[0] - size_pixels) / 2), round((scaled[1] - size_pixels) / 2)
    square = pixels[0, :, top : top + size_pixels, left : left + size_pixels]
    return square.round().clamp(0, 255).to(torch.uint8)


def _packets(path: Path) -> list[_Packet]:
    """The coded frames of the video track in file order, read without decoding.

    Frames that the container's edit list excludes are references of others but never displayed. Raises ClipError if a
    frame has lost its references, or frames are missing at the end of the file.
    """
    packets: list[_Packet] = []
    lost, begun = 0, False
    with open_media(path) as container:
        track = _video_track(container, path)
        announced = track.frames  # 0 if the container does not state it
        for packet in container.demux(track):
            if packet.size:
                begun = begun or packet.is_keyframe
                lost += packet.is_corrupt or not begun
                packets.append(_Packet(packet.pts, packet.is_keyframe, not packet.is_discard))
        # AVI counts dropped frames, stored as empty chunks, and measures time in frames.
        last = max((packet.time for packet in packets if packet.time is not None), default=-1)
        is_avi_with_gaps = container.format.name == "avi" and last + 1 >= announced
    if len(packets) < announced and not is_avi_with_gaps:
        raise ClipError(path, "unreadable", f"its header states {announced} frames, but it has {len(packets)}")
    if lost:
        raise ClipError(path, "unreadable", f"{lost} of its {len(packets)} frames cannot be shown. {RE_ENCODE}")
    return packets


def _times_in_order(packets: Sequence[_Packet]) -> list[int]:
    """The display times of all frames in order. Raises ValueError if the container does not give them."""
    shown = [packet.time for packet in packets if packet.is_shown]
    times = {time for time in shown if time is not None}
    if len(times) < len(shown):
        raise ValueError(f"{len(shown) - len(times)} of {len(shown)} frames have no time stamp")
    return sorted(times)


def _decode(path: Path, packets: Sequence[_Packet], wanted: set[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The frames shown at the wanted times, [height, width, 3] uint8, each with its time.

    The decoder gets only packets that a wanted frame depends on, and skips frames that no other refers to. Decoded
    frames are exact to the bit.
    """
    needed = _needed(packets, wanted)
    to_rgb = VideoReformatter()
    with open_media(path) as container:
        track = decodable(_video_track(container, path))
        decoder = track.codec_context
        position = 0
        for packet in container.demux(track):
            frames = []
            if not packet.size or needed[position]:
                decoder.skip_frame = "DEFAULT" if not packet.size or packet.pts in wanted else "NONREF"
                frames = packet.decode()
            elif position and needed[position - 1]:
                frames = decoder.decode(None)  # frames still buffered, before it starts at another key frame
                decoder.flush_buffers()
            position += bool(packet.size)
            for frame in frames:
                if frame.pts in wanted and not frame.is_corrupt:
                    pixels = to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()
                    yield frame.pts, _turned(pixels, frame)


def _turned(pixels: np.ndarray, frame: av.VideoFrame) -> np.ndarray:
    """The picture as players show it, [height, width, 3] uint8: phones store it rotated. decord rotates it too."""
    quarters = round(frame.rotation / 90) % 4 if abs(frame.rotation) <= 360 else 0  # a broken flag may hold any number
    return np.ascontiguousarray(np.rot90(pixels, quarters)) if quarters else pixels


def _needed(packets: Sequence[_Packet], wanted: set[int]) -> list[bool]:
    """For each packet, whether a wanted frame may depend on it: the frame itself, and all since the last key frame.

    If a frame is stored after a key frame but displayed before it, it may refer to earlier packets: all are needed.
    """
    needed = [False] * len(packets)
    start = 0
    for position, packet in enumerate(packets):
        if packet.is_key:
            start = position
        key_time, time = packets[start].time, packet.time
        if key_time is None or time is None or time < key_time:
            return [True] * len(packets)
        if time in wanted:
            needed[start : position + 1] = [True] * (position + 1 - start)
    return needed


def _video_track(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if (track := video_track(container)) is None:
        raise ClipError(path, "unreadable", "it has no video track")
    return track
