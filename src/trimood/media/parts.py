"""A part: the prepared clip as one safetensors file, named by the clip's bytes and the recipe.

torch and the readers are imported where a part is made or loaded: looking for parts needs none of them.
"""

import json
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec import AbstractFileSystem
from safetensors import SafetensorError
from upath import UPath

from trimood.disk import synchronise, written_whole
from trimood.emotions import Modality
from trimood.media.errors import ClipError, PartError, PreparationError, may_pass
from trimood.media.recipes import Recipe, recipe_name

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

TENSORS: dict[Modality, tuple[str, str]] = {"video": ("frames", "U8"), "audio": ("log_mel", "F32")}
"""Name and type of each modality's tensor; a part has either the tensor or a problem in its header."""

TRY_AGAIN = "try_again"
"""Header key of a part with a temporary problem: the part can be read, but counts as incomplete."""

Problems = dict[Modality, ClipError]
"""The problems of a clip's picture and sound; empty if its part has both."""

Location = Path | UPath
"""A file or folder on this machine, or on any file system that fsspec supports."""


def part_path(cache: Location, recipe: Recipe, content: str) -> Location:
    """The path of a clip's part; sub-folders keep listings short for tens of thousands of clips."""
    return cache / recipe_name(recipe) / content[:2] / f"{content}.safetensors"


def place_in_cache(part: Location) -> str:
    """The part's path relative to the cache, as in tables of examples: "recipe/ab/content.safetensors"."""
    return "/".join(part.parts[-3:])


def write_part(clip: Path, part: Location, recipe: Recipe) -> Problems:
    """Prepares one clip and writes its part atomically, so that no other process sees an incomplete file.

    If the picture or the sound cannot be used, the part stores the problem instead of the tensor, so that the clip is
    not decoded again; the problems are returned. Temporary problems are tried again in the next run, which keeps the
    tensors of this one. Raises DiskFull, and ClipError (writing nothing) for a temporary problem without any tensor.
    """
    import safetensors.torch

    from trimood.media.audio import log_mel, read_waveform
    from trimood.media.video import read_frames

    tensors = _of_an_earlier_try(part)
    problems: Problems = {}
    makers: dict[Modality, Callable[[], Tensor]] = {
        "video": lambda: read_frames(clip, recipe.video),
        "audio": lambda: log_mel(read_waveform(clip, recipe.audio.sample_rate_hz, recipe.audio.stereo), recipe.audio),
    }
    for modality, make in makers.items():
        if TENSORS[modality][0] in tensors:
            continue
        try:
            tensors[TENSORS[modality][0]] = make()
        except ClipError as error:
            problems[modality] = error
    passing = [error for error in problems.values() if may_pass(error)]
    if passing and not tensors:
        raise passing[0]
    noted = {modality: [error.problem, error.detail] for modality, error in problems.items()}
    header = ({"problems": json.dumps(noted)} if noted else {}) | ({TRY_AGAIN: "yes"} if passing else {})
    write_whole(part, safetensors.torch.save(tensors, header or None))
    return problems


def _of_an_earlier_try(part: Location) -> "dict[str, Tensor]":
    """The tensors of a part with a temporary problem; empty if there is no such part or it is incomplete."""
    try:
        about = _header(part)[2].get("__metadata__", {})
        return load_part(part) if TRY_AGAIN in about else {}
    except (OSError, ValueError, AttributeError, PartError):
        return {}


def write_whole(path: Location, content: bytes) -> None:
    """Writes a file completely or not at all. Raises DiskFull; PreparationError for other failures.

    If the file system can rename, the file is written under a temporary name and then moved. Object stores such as
    S3 cannot rename; they show an object only once it is complete.
    """
    if isinstance(path, Path):
        try:
            with written_whole(path, outlasts_power=False) as beside:
                beside.write_bytes(content)
                synchronise(beside)  # a part of the right length with zeros in its tensors would not be noticed
        except OSError as error:
            raise PreparationError(f"{path}: cannot be written ({error.strerror}).") from error
        return
    try:
        if type(path.fs).mv is AbstractFileSystem.mv:
            path.write_bytes(content)
        else:
            _write_and_move(path, content)
    except Exception as error:
        raise PreparationError(f"{path}: cannot be written ({error}). Finished parts are kept.") from error


def _write_and_move(path: UPath, content: bytes) -> None:
    for folder in (*reversed(path.parent.parents), path.parent):  # `parents` stops at one that another process has made
        if folder.name and not folder.exists():
            folder.mkdir(exist_ok=True)
    beside = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.tmp")
    try:
        beside.write_bytes(content)
        path.fs.mv(beside.path, path.path)
    except BaseException:
        with suppress(Exception):
            beside.unlink()
        raise


def problems_in(part: Location, clip: Path) -> Problems | None:
    """The problems that a part stores; None if there is no part or it is incomplete.

    A part is complete if every modality has its tensor or its problem, and if the file has the length that its header
    implies. A safetensors file contains the length of the header (8 bytes), the header (JSON), and the tensors
    (https://github.com/huggingface/safetensors#format).
    """
    try:
        size, header_bytes, header = _header(part)
        about = header.pop("__metadata__", {})
        noted = json.loads(about.get("problems", "{}"))
        held = {name: tensor["dtype"] for name, tensor in header.items()}
        wanted = {name: kind for modality, (name, kind) in TENSORS.items() if modality not in noted}
        end = max([tensor["data_offsets"][1] for tensor in header.values()], default=0)
        if held != wanted or TRY_AGAIN in about or size != 8 + header_bytes + end:
            return None
        return {modality: ClipError(clip, problem, detail) for modality, (problem, detail) in noted.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None


def _header(part: Location) -> tuple[int, int, dict[str, Any]]:
    """The length of the file, the length of its header, and the header. Raises OSError or ValueError."""
    size = part.stat().st_size
    with part.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        if not 0 < header_bytes <= size - 8:
            raise ValueError("the header is longer than the file")
        return size, header_bytes, json.loads(file.read(header_bytes))


def load_part(path: Location) -> "dict[str, Tensor]":
    """The tensors of a prepared clip: frames [frame, 3, height, width] uint8, log_mel [time, mel] float32.

    Either is absent if the clip lacks it. Raises PartError for a missing or incomplete file.
    """
    import safetensors.torch

    try:
        if isinstance(path, Path):
            return safetensors.torch.load_file(path)
        return safetensors.torch.load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise _incomplete(path, error) from error


def load_arrays(path: Location) -> "dict[str, np.ndarray]":
    """As `load_part`, as numpy arrays: for pictures of clips, which need no torch."""
    import safetensors.numpy

    try:
        return safetensors.numpy.load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise _incomplete(path, error) from error


def _incomplete(path: Location, error: Exception) -> PartError:
    return PartError(f"{path}: not a complete part ({error}). Prepare the clips again: complete parts are kept.")
