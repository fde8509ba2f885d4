"""Finds LanguageBind checkpoints, in a folder or on the Hugging Face hub, and loads them strictly.

torch and transformers are imported where they are used: `clip_recipe` reads two small files for every run.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from trimood.config.parameters import Reader, Stereo, listed
from trimood.disk import DiskFull, says_disk_full
from trimood.emotions import Source
from trimood.media.recipes import AudioRecipe, Recipe, VideoRecipe
from trimood.model.config import CheckpointError, LanguageBindConfig, read_config

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import CLIPTokenizer

    from trimood.model.towers import LanguageBind

BIN_FILE, SAFETENSORS_FILE = "pytorch_model.bin", "model.safetensors"

TOKEN_COUNT = 77
"""Positions of CLIP's text tower."""

_SHARD_NAME = re.compile(r"model-\d+-of-(\d+)\.safetensors")
_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_ENCODERS_TOKENIZER_FILES = ("vocab.txt", "added_tokens.json", "*.model")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def locate(source: str, weights: bool = True) -> Path:
    """Returns the folder of a checkpoint: `source` itself, or the snapshot of a hub name in the Hugging Face cache.

    Files in the cache are used without a request to the hub; missing files are downloaded (about 2 GB for a published
    checkpoint), preferably safetensors. Without `weights`, only the configuration and the tokenizer are needed. Raises
    CheckpointError if the folder does not exist, files are missing, or the hub cannot be reached; and DiskFull.
    """
    folder = Path(os.path.expanduser(source))
    if folder.is_dir():
        if weights:
            read_config(folder)
            weight_files(folder)
        return folder
    if not _HUB_NAME.fullmatch(source):
        raise CheckpointError(
            f"{source}: no such folder. Give a folder with config.json and {SAFETENSORS_FILE} or {BIN_FILE}, or a hub "
            "name such as LanguageBind/LanguageBind_Video_FT."
        )
    return _cached(source, weights) or _download(source, weights)


def locate_encoder(source: str) -> Path:
    """Returns the folder of a text encoder, as `locate` does; `model.encoders.read_encoder` says whether it is one."""
    folder = Path(os.path.expanduser(source))
    if folder.is_dir():
        return folder
    if not _HUB_NAME.fullmatch(source):
        raise CheckpointError(
            f"text_tower={source}: no such folder. Give languagebind, a folder with config.json, {SAFETENSORS_FILE} "
            "and the files of its tokenizer, or a hub name such as sentence-transformers/all-MiniLM-L6-v2."
        )
    return _cached(source, weights=True) or _download(source, weights=True)


def clip_recipe(sources: Mapping[Source, str], reader: Reader, stereo: Stereo) -> Recipe:
    """Returns how to prepare clips for the checkpoints, without reading weights.

    The values for an unused checkpoint are those of the published one.
    """
    visions = {
        source: read_config(locate(name, weights=False)).vision for source, name in sources.items() if source != "text"
    }
    video, audio = visions.get("video"), visions.get("audio")
    return Recipe(
        video=VideoRecipe(video.num_frames, video.image_size, reader) if video else VideoRecipe(reader=reader),
        audio=AudioRecipe(audio.num_mel_bins, audio.audio_sample_rate, stereo) if audio else AudioRecipe(stereo=stereo),
    )


def weight_files(folder: Path) -> list[Path]:
    """Returns model.safetensors, or all its shards, or else pytorch_model.bin. Raises CheckpointError without any."""
    names = _weight_names({path.name for path in folder.iterdir()}) if folder.is_dir() else []
    if not names:
        raise CheckpointError(
            f"{folder}: no weights here. {SAFETENSORS_FILE} or {BIN_FILE} must be beside config.json: download the "
            "checkpoint again, or give another folder."
        )
    return [folder / name for name in names]


def checkpoint_digest(place: str, source: Source = "video") -> str:
    """Returns 16 hexadecimal digits of a checkpoint's configuration, vocabulary and weights, whatever its folder.

    Reads every byte, but only once in a process unless a file changes. Raises CheckpointError.
    """
    folder = locate_encoder(place) if source == "text" else locate(place)
    others = [path for name in _ENCODERS_TOKENIZER_FILES for path in sorted(folder.glob(name))]
    digest = hashlib.sha256()
    for path in [folder / "config.json", *(folder / name for name in _TOKENIZER_FILES), *others, *weight_files(folder)]:
        if path.is_file():
            state = path.stat()
            digest.update(f"{path.name} {_file_digest(path, state.st_size, state.st_mtime_ns)}\n".encode())
    return digest.hexdigest()[:16]


def check_checkpoints(places: Mapping[Source, str], digests: Mapping[Source, str], whose: str) -> None:
    """Raises CheckpointError if a checkpoint's files are not those with the digest that `whose` training noted."""
    for source, place in places.items():
        if checkpoint_digest(place, source) != digests[source]:
            raise CheckpointError(
                f"{place}: not the {source} checkpoint that {whose} was trained with; its files have other content. "
                "Give the place of that checkpoint, or run the experiment again with this one."
            )


@lru_cache
def _file_digest(path: Path, _size: int, _changed_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _weight_names(files: Collection[str]) -> list[str]:
    if SAFETENSORS_FILE in files:
        return [SAFETENSORS_FILE]
    shards = [match for match in map(_SHARD_NAME.fullmatch, sorted(files)) if match]
    if shards and len(shards) == int(shards[0][1]):
        return [shard[0] for shard in shards]
    return [BIN_FILE] if BIN_FILE in files else []


def _cached(name: str, weights: bool) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=["config.json"]))
    except OSError:  # LocalEntryNotFoundError: not in the cache
        return None
    files = {path.name for path in folder.iterdir()}
    needed = _weight_names(files) if weights else files & {"vocab.json", "tokenizer.json"}
    return folder if needed and "config.json" in files else None


def _download(name: str, weights: bool) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download

    patterns = ["config.json", *_TOKENIZER_FILES, *_ENCODERS_TOKENIZER_FILES]
    try:
        if weights:
            files = [file.rfilename for file in HfApi().model_info(name, timeout=30).siblings or []]
            patterns += _weight_names(files)
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # without a network, the error depends on the version's HTTP client
        if says_disk_full(error):
            raise DiskFull(Path(constants.HF_HUB_CACHE), f"the hub's checkpoint {name} may take 2 GB") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{name}: no folder has this name, and the download from the Hugging Face hub failed ({reason}). Check the "
            f"name and the network, or run `hf download {name} --local-dir FOLDER` where the hub can be reached, copy "
            "the folder here, and give its path instead of the name."
        ) from error
    if weights:
        weight_files(folder)
    return folder


def read_state_dict(folder: Path) -> "dict[str, Tensor]":
    """Reads all weights of a checkpoint folder by name, without the `position_ids` buffers, as float32 on the CPU.

    The tensors are memory-mapped: they use memory only after they are read or changed, and changes are not written to
    the file. Raises CheckpointError for a missing or damaged file.
    """
    return {name: tensor.float() for name, tensor in _open_weights(folder).items()}


def state_dict_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Reads the shape of every weight in a checkpoint folder, without the weights themselves."""
    return {name: tuple(tensor.shape) for name, tensor in _open_weights(folder).items()}


def read_strictly(folder: Path, config: LanguageBindConfig) -> "dict[str, Tensor]":
    """Reads all weights. Raises CheckpointError if any key or shape differs from the towers of `config`."""
    import torch

    from trimood.model.towers import LanguageBind

    with torch.device("meta"):
        wanted = LanguageBind(config)
    weights = read_state_dict(folder)
    check_strictly(folder, wanted, {name: tuple(tensor.shape) for name, tensor in weights.items()})
    if broken := not_finite(weights):
        raise CheckpointError(
            f"{folder}: {broken}, so every prediction would be nan. The checkpoint is damaged: download it again."
        )
    return weights


def not_finite(tensors: "Mapping[str, Tensor]") -> str:
    """Names the tensors that have infinite or undefined numbers; "" if all are finite. Allocates no memory."""
    import torch

    broken = [
        name
        for name, tensor in tensors.items()
        if tensor.numel() and tensor.is_floating_point() and not torch.stack(tensor.aminmax()).isfinite().all()
    ]
    return f"{len(broken)} tensors have inf or nan: {listed(broken, 3)}" if broken else ""


def check_strictly(folder: Path, model: "LanguageBind", shapes: Mapping[str, Sequence[int]]) -> None:
    """Raises CheckpointError, which names the first differences, if any key or shape differs from the model's."""
    if found := differences({name: tensor.shape for name, tensor in model.state_dict().items()}, shapes):
        raise CheckpointError(
            f"{folder}: the weights do not fit the towers. {found}. All weights of the checkpoint (except "
            "position_ids) must match, otherwise another model would be used silently: use a "
            "LanguageBind_Video_FT or LanguageBind_Audio_FT checkpoint together with its own config.json."
        )


def differences(wanted: Mapping[str, Sequence[int]], shapes: Mapping[str, Sequence[int]]) -> str:
    """Describes which tensors are missing, unexpected, or of another shape than wanted; "" if there are none."""
    problems = {
        "missing": [name for name in wanted if name not in shapes],
        "unexpected": [name for name in shapes if name not in wanted],
        "of another shape": [
            f"{name} ({list(shapes[name])} in the file, {list(shape)} in the model)"
            for name, shape in wanted.items()
            if name in shapes and tuple(shapes[name]) != tuple(shape)
        ],
    }
    return "; ".join(f"{len(names)} {kind}: {listed(names, 3)}" for kind, names in problems.items() if names)


def tokenizer(folder: Path) -> "CLIPTokenizer":
    """Loads CLIP's tokenizer with the vocabulary of a checkpoint folder; it pads with the end token.

    Raises CheckpointError if the vocabulary is missing, damaged, or of another size than in config.json, or if the end
    token is not the highest id, by which the text tower finds the end of an utterance.
    """
    from transformers import CLIPTokenizer

    if not any((folder / name).is_file() for name in ("vocab.json", "tokenizer.json")):
        raise CheckpointError(
            f"{folder}: no tokenizer here. vocab.json and merges.txt (or tokenizer.json) are required: copy them from "
            "LanguageBind/LanguageBind_Image."
        )
    try:
        clip = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    except Exception as error:  # the library's own errors are bare exceptions
        raise CheckpointError(f"{_unreadable(folder)}: the tokenizer cannot be read from it ({error}).") from error
    clip.pad_token = clip.eos_token
    highest = max(clip.get_vocab().values())
    if clip.eos_token_id != highest:
        raise CheckpointError(
            f"{folder}: the end token {clip.eos_token!r} has id {clip.eos_token_id}, but the highest id is {highest}. "
            "The text tower reads an utterance at its highest id: use CLIP's own vocabulary."
        )
    size = len(clip.get_vocab())
    if (folder / "config.json").is_file() and size != (wanted := read_config(folder).text.vocab_size):
        raise CheckpointError(
            f"{_unreadable(folder)}: the vocabulary has {size:,} tokens, and config.json says {wanted:,}. A file of "
            "the tokenizer is damaged or of another checkpoint: download them again."
        )
    return clip


def _unreadable(folder: Path) -> str:
    """The first file of the tokenizer that is not valid on its own, else all of them, after an error of the library."""
    there = [folder / name for name in _TOKENIZER_FILES if (folder / name).is_file()]
    for path in there:
        try:
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".json" and not isinstance(json.loads(text), dict):
                return str(path)
        except ValueError:
            return str(path)
    return f"{folder}: {', '.join(path.name for path in there)}"


LONGEST_TEXT_CHARACTERS = 20_000
"""More than 77 tokens have; a text of megabytes would take minutes and gigabytes."""


def tokenize(tokenizer: "CLIPTokenizer", texts: Sequence[str]) -> "Tensor":
    """Token ids of the texts, [utterance, 77] int64: truncated before a final end token, or padded with end tokens.

    They are `normalised` first.
    """
    begun = [normalised(text[:LONGEST_TEXT_CHARACTERS]) for text in texts]
    ids = tokenizer(begun, max_length=TOKEN_COUNT, padding="max_length", truncation=True, return_tensors="pt")
    return ids["input_ids"]


def normalised(text: str) -> str:
    """The text as CLIP's original tokenizer normalises it, with which LanguageBind was trained.

    ftfy straightens curly quotes and repairs wrongly decoded characters (github.com/openai/CLIP, simple_tokenizer.py).
    """
    import ftfy

    return " ".join(ftfy.fix_text(text).split()).lower()


def _open_weights(folder: Path) -> "dict[str, Tensor]":
    return open_weights(weight_files(folder))


def open_weights(files: Iterable[Path]) -> "dict[str, Tensor]":
    """Opens the tensors of safetensors and .bin files by name, without the `position_ids` buffers, memory-mapped.

    Raises CheckpointError for a damaged file, and for one that has anything but tensors.
    """
    from torch import Tensor

    weights: dict[str, Tensor] = {}
    for path in files:
        try:
            content: object = _open_bin(path) if path.suffix == ".bin" else _open_safetensors(path)
        # The errors of torch and safetensors for truncated, foreign or unsafe files.
        except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            raise CheckpointError(_damaged(path, error)) from error
        if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
            raise CheckpointError(f"{path}: not a state dict, which maps names to tensors. Download the file again.")
        weights |= content
    return {name: tensor for name, tensor in weights.items() if not name.endswith("position_ids")}


def _open_safetensors(path: Path) -> "dict[str, Tensor]":
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a handle, not a mapping


def _open_bin(path: Path) -> object:
    import torch

    # Only the zip format of torch >= 1.6 can be memory-mapped.
    with path.open("rb") as file:
        is_zip = file.read(2) == b"PK"
    return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)


def _damaged(path: Path, error: Exception) -> str:
    size = path.stat().st_size
    with path.open("rb") as file:
        is_pointer = file.read(40).startswith(b"version https://git-lfs")
    if is_pointer:
        return f"{path}: a Git LFS pointer of {size} bytes, not the weights. Run `git lfs pull`, or use `hf download`."
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    if "Weights only load failed" in str(error):
        return (
            f"{path}: a pickle of {size:,} bytes that cannot be read as weights: it is damaged, or has other objects "
            "than tensors, which are not loaded because they can run code. Download it again, or ask for a file of the "
            "state dict alone."
        )
    return (
        f"{path}: {size:,} bytes that cannot be read as weights ({type(error).__name__}: {reason}). The file is "
        "damaged or its download was interrupted: delete it and download it again."
    )
