"""Frames of a clip as LanguageBind's video tower expects them, before the normalisation (done on the device)."""

import math
import os
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from torch import Tensor
from torch.nn import functional

from trimood.media.completeness import require_whole
from trimood.media.errors import ClipError, PreparationError, reason, require_file
from trimood.media.files import decodable, open_media, video_track
from trimood.media.recipes import VideoRecipe

RE_ENCODE = "It was cut without re-encoding: cut it again, or repair it with ffmpeg -i CLIP.mp4 REPAIRED.mp4"

MOST_ASPECT = 500

# Others may hide frames that only others refer to (VP8), or hold two frames or none in a packet (XviD, DivX).
_ONE_FRAME_A_PACKET = ("h264", "hevc", "vp9", "av1", "mjpeg", "prores", "ffv1", "png", "rawvideo", "dvvideo")

Orientation = tuple[bool, bool, bool]
"""Whether the sides are exchanged (rows become columns), then columns reversed, and rows reversed."""


@dataclass(frozen=True)
class _Packet:
    """A coded frame: its time in the track's time base, whether it is a key frame, and whether it is displayed."""

    time: int | None
    is_key: bool
    is_shown: bool


def read_frames(path: Path, recipe: VideoRecipe) -> Tensor:
    """Frames evenly spread over those that a player shows, scaled and cropped, [frame, 3, height, width] uint8 (RGB).

    PyAV decodes only what these frames require, and holds one frame of full size at a time. Raises ClipError: missing,
    unreadable; PreparationError if the recipe's reader is not installed.
    """
    require_file(path)
    if recipe.reader == "decord":
        return _read_with_decord(path, recipe)
    require_whole(path)
    try:
        packets, is_sure = _packets(path)
        times = _times(path, packets, is_sure)
        names = times if is_sure else range(len(times))
        chosen = [names[index] for index in frame_indices(len(times), recipe.frame_count)]
        named = _decode(path, packets, set(chosen)) if is_sure else enumerate(decoded_in_order(path))
        to_rgb = VideoReformatter()
        fitted = {
            name: fit_frame(torch.from_numpy(_pixels(frame, to_rgb)), recipe.frame_size_pixels)
            for name, frame in named
            if name in chosen and not frame.is_corrupt
        }
    except (av.error.FFmpegError, ValueError) as error:
        raise ClipError(path, "unreadable", f"its frames cannot be decoded ({reason(error)})") from error
    if lost := sorted(set(chosen) - fitted.keys()):
        number = names.index(lost[0]) + 1
        raise ClipError(path, "unreadable", f"frame {number} of its {len(times)} frames cannot be decoded")
    return torch.stack([fitted[name] for name in chosen])


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


def shown_times(path: Path) -> list[int]:
    """When each frame is shown, in order and in the track's time base; frames may share a time.

    Where the packets do not say it, all frames are decoded. Raises ClipError, ValueError and FFmpeg's errors.
    """
    return _times(path, *_packets(path))


def _times(path: Path, packets: Sequence[_Packet], is_sure: bool) -> list[int]:
    if is_sure:
        return sorted(packet.time for packet in packets if packet.is_shown and packet.time is not None)
    stamps = [frame.pts for frame in decoded_in_order(path)]
    times = [stamp for stamp in stamps if stamp is not None]
    if len(times) == len(stamps) and times == sorted(times):
        return times
    ordered = sorted_stamps(path)
    return ordered[: len(stamps)] + [ordered[-1]] * (len(stamps) - len(ordered))


def sorted_stamps(path: Path) -> list[int]:
    """The decoding times of all coded frames, in order: those of AVI count the frames, whatever their order."""
    with open_media(path) as container:
        packets = container.demux(_video_track(container, path))
        return sorted(packet.dts for packet in packets if packet.size and packet.dts is not None)


def decoded_in_order(path: Path) -> Iterator[av.VideoFrame]:
    """All frames that a player shows, in order of display: the decoder leaves out those that it cannot show."""
    with open_media(path) as container:
        yield from container.decode(decodable(_video_track(container, path)))


def has_times(container: av.container.InputContainer, track: av.VideoStream) -> bool:
    """Whether the container says when frames are displayed. AVI does not; FFmpeg's guesses for it are wrong."""
    return container.format.name != "avi" or not (track.codec_context and track.codec_context.has_b_frames)


def _packets(path: Path) -> tuple[list[_Packet], bool]:
    """The coded frames of the video track in file order, read without decoding; and whether they say what is shown.

    They do if each is one frame with a time of its own. Frames that the container's edit list excludes are references
    of others but never displayed. Raises ClipError if frames have lost their references or the end is missing.
    """
    packets: list[_Packet] = []
    stamps: list[int] = []
    lost, begun = 0, False
    with open_media(path) as container:
        track = _video_track(container, path)
        is_sure = track.codec_context is None or (
            track.codec_context.name in _ONE_FRAME_A_PACKET and has_times(container, track)
        )
        for packet in container.demux(track):
            if packet.size:
                begun = begun or packet.is_keyframe
                lost += packet.is_corrupt or not begun
                packets.append(_Packet(packet.pts, packet.is_keyframe, not packet.is_discard))
                stamps += [packet.dts] if packet.dts is not None else []
        # Without the frames that an edit list leaves out, which are part of the header's own count.
        announced = len(track.index_entries) if "mp4" in container.format.name else 0
    if len(packets) < announced:
        raise ClipError(path, "unreadable", f"its header states {announced} frames, but it has {len(packets)}")
    if lost:
        raise ClipError(path, "unreadable", f"{lost} of its {len(packets)} frames cannot be shown. {RE_ENCODE}")
    times = [packet.time for packet in packets if packet.is_shown]
    known = {time for time in times if time is not None}
    # After a cut without encoding, frames before the first key frame may refer to others that are gone.
    leads = packets and known and packets[0].is_shown and packets[0].time != min(known)
    # Where recordings were joined, times begin again, and their order is not that of the frames.
    return packets, is_sure and len(known) == len(times) and not leads and stamps == sorted(stamps)


def _decode(path: Path, packets: Sequence[_Packet], wanted: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
    """The frames shown at the wanted times, each with its time.

    The decoder gets only packets that a wanted frame depends on, and skips frames that no other refers to. Decoded
    frames are exact to the bit.
    """
    needed = _needed(packets, wanted)
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
            yield from ((frame.pts, frame) for frame in frames if frame.pts is not None)


def _pixels(frame: av.VideoFrame, to_rgb: VideoReformatter) -> np.ndarray:
    """The picture as players show it, [height, width, 3] uint8."""
    pixels = to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(as_shown(pixels, orientation(frame)))


def orientation(frame: av.VideoFrame) -> Orientation:
    """How players turn and mirror a frame: by its display matrix, to the nearest quarter turn, as phones store it.

    Source: the transformation matrix of tracks in Apple's QuickTime File Format Specification, which maps (x, y) of the
    stored picture to (ax + cy, bx + dy).
    """
    if (matrix := frame.side_data.get("DISPLAYMATRIX")) is None:
        return False, False, False
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    if abs(a) + abs(d) < abs(b) + abs(c):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def as_shown(plane: np.ndarray, orientation: Orientation) -> np.ndarray:
    """A view of a picture [height, width, …] with its sides exchanged and its columns and rows reversed if set."""
    sides_exchanged, columns_reversed, rows_reversed = orientation
    plane = plane.swapaxes(0, 1) if sides_exchanged else plane
    return plane[:: -1 if rows_reversed else 1, :: -1 if columns_reversed else 1]


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
