"""A part: what was prepared for one clip, in one safetensors file named by the clip's bytes and the recipe."""

import errno
import hashlib
import json
import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from trimood.media.audio import SHIFT_MS, AudioRecipe, log_mel, read_waveform
from trimood.media.errors import DiskFull, PartError
from trimood.media.video import VideoRecipe, read_frames

FORMAT_VERSION = 1
"""Raise it whenever the same recipe comes to give other numbers, so that no older part is taken for a new one."""

ASSUMED_SECONDS = 10
"""Length of sound that the estimate of the disk's space assumes; utterances of ECF last about 3 s on average."""

TENSORS = {"frames": "U8", "log_mel": "F32"}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what a part holds, but for the clip itself."""

    video: VideoRecipe = field(default_factory=VideoRecipe)
    audio: AudioRecipe = field(default_factory=AudioRecipe)


def recipe_name(recipe: Recipe) -> str:
    """The folder of a recipe's parts: 16 hexadecimal digits that change with any of its values."""
    canonical = json.dumps({"format": FORMAT_VERSION, **asdict(recipe)}, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()


def content_name(clip: Path) -> str:
    """40 hexadecimal digits for the bytes of a file, whatever it is called and wherever it lies."""
    with clip.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=20)).hexdigest()


def part_path(cache: Path, recipe: Recipe, content: str) -> Path:
    """Where the part of a clip lies; the sub-folders keep listings short for tens of thousands of clips."""
    return cache / recipe_name(recipe) / content[:2] / f"{content}.safetensors"


def part_bytes(recipe: Recipe) -> int:
    """About how many bytes one part takes."""
    frames = recipe.video.frame_count * 3 * recipe.video.frame_size_pixels**2
    return frames + 4 * recipe.audio.mel_bins * ASSUMED_SECONDS * 1000 // SHIFT_MS


def write_part(clip: Path, part: Path, recipe: Recipe) -> None:
    """Prepares one clip and puts its part in place in one step, so that no other process ever sees half of it.

    Raises ClipError for a clip that cannot be used, and DiskFull.
    """
    frames = read_frames(clip, recipe.video)
    waveform = read_waveform(clip, recipe.audio.sample_rate_hz)
    write_whole(part, save({"frames": frames, "log_mel": log_mel(waveform, recipe.audio)}))


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file beside its place and moves it there; nothing is left behind when that fails. Raises DiskFull."""
    beside = path.with_name(f".{path.stem}.{os.getpid()}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        os.replace(beside, path)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(path.parent, len(content), shutil.disk_usage(existing_parent(path)).free) from error
        raise


def existing_parent(path: Path) -> Path:
    """The nearest folder above `path` that exists."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def is_whole(part: Path) -> bool:
    """Whether the file is there, holds both tensors and has exactly the length that its own header states.

    A safetensors file is: 8 bytes length of the header, the header (JSON), the tensors
    (https://github.com/huggingface/safetensors#format).
    """
    try:
        size = part.stat().st_size
        with part.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
            if not 0 < header_bytes <= size - 8:
                return False
            header = json.loads(file.read(header_bytes))
        end = max(header[name]["data_offsets"][1] for name in TENSORS)
        return size == 8 + header_bytes + end and all(header[name]["dtype"] == kind for name, kind in TENSORS.items())
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return False


def load_part(path: Path) -> dict[str, Tensor]:
    """What was prepared for a clip: frames [frame, 3, height, width] uint8, log_mel [time, mel] float32.

    Raises PartError for a file that is missing or not whole.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise PartError(
            f"{path}: not a whole part ({error}). Prepare the clips again: whole parts are kept."
        ) from error
