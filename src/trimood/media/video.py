"""Frames of a clip as LanguageBind's video tower expects them, before the normalisation (done on the device)."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import torch
from decord import VideoReader
from decord._ffi.base import DECORDError
from torch import Tensor
from torch.nn import functional

from trimood.media.errors import ClipError

RE_ENCODE = "It was cut without encoding it anew: cut it again, or repair it with ffmpeg -i CLIP.mp4 REPAIRED.mp4"


@dataclass(frozen=True)
class VideoRecipe:
    """How many frames are taken from a clip, and the side of the square that they are fitted into."""

    frame_count: int = 8
    frame_size_pixels: int = 224


def read_frames(path: Path, recipe: VideoRecipe) -> Tensor:
    """Frames evenly spread over the clip, scaled and cropped, [frame, 3, height, width] uint8 (RGB).

    Raises ClipError: missing, unreadable.
    """
    if not path.is_file():
        raise ClipError(path, "missing", f"no such file in {path.parent}")
    try:
        hidden, announced = _hidden_frames(path)
        if hidden:
            raise ClipError(path, "unreadable", f"{hidden} of its {announced} frames cannot be shown. {RE_ENCODE}")
        # One thread: clips are prepared in parallel, and decord's own threads would only compete with that.
        reader = VideoReader(str(path), num_threads=1)
        indices = frame_indices(len(reader), recipe.frame_count)
        decoded = reader.get_batch(indices).asnumpy()  # [frame, height, width, 3] uint8
    except (av.error.FFmpegError, DECORDError, RuntimeError, AssertionError, ValueError, IndexError) as error:
        raise ClipError(path, "unreadable", f"its frames cannot be decoded ({_reason(error)})") from error
    return torch.stack([fit_frame(torch.from_numpy(frame), recipe.frame_size_pixels) for frame in decoded])


def frame_indices(available: int, wanted: int) -> list[int]:
    """Positions of `wanted` frames from the first to the last of `available`, truncated to whole numbers.

    A clip of fewer frames repeats some. Raises ValueError where there is no frame at all.
    Source: LanguageBind, languagebind/video/processing_video.py, `load_and_transform_video`.
    """
    if available < 1:
        raise ValueError("the video track holds no frame")
    indices: list[int] = np.linspace(0, available - 1, wanted, dtype=int).tolist()
    return indices


def fit_frame(frame: Tensor, size_pixels: int) -> Tensor:
    """One frame [height, width, 3] uint8 with its short side scaled to `size_pixels`, cropped to the central square.

    Returns [3, size_pixels, size_pixels] uint8, rounded. Bilinear without antialiasing, the long side rounded down as
    in pytorchvideo's ShortSideScale, the crop's corner rounded to even as in torchvision's CenterCropVideo.
    LanguageBind normalises before it scales; scaling is linear, so the order makes no difference but for rounding.
    """
    height, width = frame.shape[:2]
    if width < height:
        scaled = (math.floor(height / width * size_pixels), size_pixels)
    else:
        scaled = (size_pixels, math.floor(width / height * size_pixels))
    pixels = frame.permute(2, 0, 1)[None].float()  # [1, 3, height, width]
    pixels = functional.interpolate(pixels, size=scaled, mode="bilinear", align_corners=False, antialias=False)
    top, left = round((scaled[0] - size_pixels) / 2), round((scaled[1] - size_pixels) / 2)
    square = pixels[0, :, top : top + size_pixels, left : left + size_pixels]
    return square.round().clamp(0, 255).to(torch.uint8)


def _hidden_frames(path: Path) -> tuple[int, int]:
    """How many of the video track's frames no player shows, and how many it holds. Reads the track, decodes nothing.

    Frames before the first key frame have lost their reference; those that the container's edit list leaves out
    lead up to a cut. decord 0.6 counts both, so that in such a clip it gives other frames than were asked for,
    even out of order (seen on clips cut with `ffmpeg -ss … -c copy`).
    """
    hidden = announced = 0
    begun = False
    with av.open(str(path), metadata_errors="ignore") as container:
        if not container.streams.video:
            raise ClipError(path, "unreadable", "it has no video track")
        for packet in container.demux(video=0):
            if packet.size:
                begun = begun or packet.is_keyframe
                announced += 1
                hidden += packet.is_discard or packet.is_corrupt or not begun
    return hidden, announced


def _reason(error: Exception) -> str:
    """The first line of decord's message without the times and source positions that it is wrapped in."""
    lines = re.sub(r"\[[\d:]+\] \S+:\d+: ", "", str(error)).strip().splitlines()
    return lines[0] if lines else type(error).__name__
