"""Loads LanguageBind checkpoints, strictly: every weight has its place, or nothing is loaded."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import CLIPTokenizer

from trimood.model.config import CheckpointError, read_config
from trimood.model.sources import BIN_FILE, locate, weight_files
from trimood.model.towers import LanguageBind

__all__ = [
    "CheckpointError",
    "check_strictly",
    "load_languagebind",
    "locate",
    "read_state_dict",
    "state_dict_shapes",
    "tokenize",
    "tokenizer",
]

TOKEN_COUNT = 77  # positions of CLIP's text tower


def read_state_dict(folder: Path) -> dict[str, Tensor]:
    """All weights of a checkpoint folder by name, without the `position_ids` buffers, as float32 on the CPU.

    The tensors are mapped from the file and cost memory only where they are read or changed; what is changed is not
    written back. Raises CheckpointError for a missing or damaged file.
    """
    weights = _open_weights(folder)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}


def state_dict_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shape of every weight in a checkpoint folder, without reading the weights themselves."""
    return {name: tuple(tensor.shape) for name, tensor in _open_weights(folder).items()}


def load_languagebind(folder: Path) -> LanguageBind:
    """Build the towers that the folder's config.json describes and load its weights into them, float32 on the CPU.

    Raises CheckpointError unless weights and towers agree key by key and shape by shape.
    """
    with torch.device("meta"):
        model = LanguageBind(read_config(folder))
    weights = read_state_dict(folder)
    check_strictly(folder, model, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    model.load_state_dict(weights, assign=True)
    model.materialise_position_ids()
    return model


def check_strictly(folder: Path, model: LanguageBind, shapes: Mapping[str, Sequence[int]]) -> None:
    """Raise CheckpointError if the checkpoint's shapes and the model's differ in any key, naming the first of each."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    mismatched = [
        f"{name} ({list(shapes[name])} in the file, {list(shape)} by config.json)"
        for name, shape in wanted.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    problems = {
        "missing": [name for name in wanted if name not in shapes],
        "unexpected": [name for name in shapes if name not in wanted],
        "of another shape": mismatched,
    }
    found = [f"{len(names)} {kind}: {_first(names)}" for kind, names in problems.items() if names]
    if found:
        raise CheckpointError(
            f"{folder}: the weights do not fit the towers. {'; '.join(found)}. Every weight of the checkpoint must "
            "have its place (position_ids apart), or the model would silently be another one: use a "
            "LanguageBind_Video_FT or LanguageBind_Audio_FT checkpoint together with its own config.json."
        )


def tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer with the vocabulary of a checkpoint folder; pads with the end token.

    Raises CheckpointError if the vocabulary is not there, or if the end token is not its highest id, by which the text
    tower finds the end of an utterance.
    """
    if not any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise CheckpointError(
            f"{folder}: no tokenizer here. vocab.json and merges.txt (or tokenizer.json) are needed: take them from "
            "LanguageBind/LanguageBind_Image."
        )
    try:
        clip = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (ValueError, OSError, KeyError) as error:
        raise CheckpointError(
            f"{folder}: the tokenizer's files cannot be read ({error}). Download them again."
        ) from error
    clip.pad_token = clip.eos_token
    highest = max(clip.get_vocab().values())
    if clip.eos_token_id != highest:
        raise CheckpointError(
            f"{folder}: the end token {clip.eos_token!r} has id {clip.eos_token_id}, but the highest id is {highest}. "
            "The text tower reads an utterance at its highest id: use CLIP's own vocabulary."
        )
    return clip


def tokenize(tokenizer: CLIPTokenizer, texts: Sequence[str]) -> Tensor:
    """Token ids of the texts, [utterance, 77] int64: cut to 77 with the end token kept, or padded with end tokens."""
    ids = tokenizer(list(texts), max_length=TOKEN_COUNT, padding="max_length", truncation=True, return_tensors="pt")
    return ids["input_ids"]


def _open_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in weight_files(folder):
        opener: Callable[[Path], Any] = _open_bin if path.name == BIN_FILE else _open_safetensors
        try:
            content = opener(path)
        # What torch and safetensors raise for truncated, foreign or unsafe files.
        except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(_damaged(path, error)) from error
        if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
            raise CheckpointError(f"{path}: not a state dict, which maps names to tensors. Download the file again.")
        weights |= content
    return {name: tensor for name, tensor in weights.items() if not name.endswith("position_ids")}


def _open_safetensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a mapping


def _open_bin(path: Path) -> Any:
    # Only the zip format of torch >= 1.6 can be mapped; the older one has to be read whole.
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def _damaged(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        is_pointer = file.read(40).startswith(b"version https://git-lfs")
    size = path.stat().st_size
    if is_pointer:
        return f"{path}: a Git LFS pointer of {size} bytes, not the weights. Run `git lfs pull`, or use `hf download`."
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"{path}: {size:,} bytes that cannot be read as weights ({type(error).__name__}: {reason}). The file is "
        "damaged or its download was interrupted: delete it and download it again."
    )


def _first(names: Sequence[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
