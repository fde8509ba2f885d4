"""Frames of a clip as LanguageBind's video tower expects them, before the normalisation (done on the device)."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from decord import VideoReader
from decord._ffi.base import DECORDError
from torch import Tensor
from torch.nn import functional

from trimood.media.errors import ClipError


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
        # One thread: clips are prepared in parallel, and decord's own threads would only compete with that.
        reader = VideoReader(str(path), num_threads=1)
        indices = frame_indices(len(reader), recipe.frame_count)
        decoded = reader.get_batch(indices).asnumpy()  # [frame, height, width, 3] uint8
    except (DECORDError, RuntimeError, ValueError, IndexError) as error:
        raise ClipError(path, "unreadable", f"its frames cannot be decoded ({_first_line(error)})") from error
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


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
