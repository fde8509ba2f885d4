"""Finds a checkpoint's files: in a folder, or under its name on the Hugging Face hub."""

import re
from collections.abc import Collection
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download

from trimood.disk import DiskFull, says_disk_full
from trimood.model.config import CheckpointError, read_config

BIN_FILE = "pytorch_model.bin"

_SAFETENSORS_FILE = "model.safetensors"
_SHARD_NAME = re.compile(r"model-\d+-of-(\d+)\.safetensors")
_TOKENIZER_FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def locate(source: str, weights: bool = True) -> Path:
    """The folder that holds checkpoint `source`: the folder itself, or a hub name's snapshot in the HF cache.

    What the cache holds is used without asking the hub; what it lacks is downloaded (about 2 GB for a published
    checkpoint), safetensors rather than pytorch_model.bin where there are both. Without `weights`, only the
    configuration and the tokenizer. Raises CheckpointError if there is no such folder, if its files are not complete,
    or if the hub is out of reach, and DiskFull.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if weights:
            read_config(folder)
            weight_files(folder)
        return folder
    if not _HUB_NAME.fullmatch(source):
        raise CheckpointError(
            f"{source}: no such folder. Give a folder with config.json and {_SAFETENSORS_FILE} or {BIN_FILE}, or a hub "
            "name such as LanguageBind/LanguageBind_Video_FT."
        )
    return _cached(source, weights) or _download(source, weights)


def weight_files(folder: Path) -> list[Path]:
    """The folder's model.safetensors, or all its shards, or else its pytorch_model.bin; CheckpointError without any."""
    names = _weight_names({path.name for path in folder.iterdir()}) if folder.is_dir() else []
    if not names:
        raise CheckpointError(
            f"{folder}: no weights here. {_SAFETENSORS_FILE} or {BIN_FILE} must lie beside config.json: download the "
            "checkpoint again, or give another folder."
        )
    return [folder / name for name in names]


def _weight_names(files: Collection[str]) -> list[str]:
    if _SAFETENSORS_FILE in files:
        return [_SAFETENSORS_FILE]
    shards = [match for match in map(_SHARD_NAME.fullmatch, sorted(files)) if match]
    if shards and len(shards) == int(shards[0][1]):
        return [shard[0] for shard in shards]
    return [BIN_FILE] if BIN_FILE in files else []


def _cached(name: str, weights: bool) -> Path | None:
    try:
        folder = Path(snapshot_download(name, local_files_only=True, allow_patterns=["config.json"]))
    except OSError:  # LocalEntryNotFoundError: not in the cache
        return None
    files = {path.name for path in folder.iterdir()}
    needed = _weight_names(files) if weights else files.intersection(("vocab.json", "tokenizer.json"))
    return folder if needed and "config.json" in files else None


def _download(name: str, weights: bool) -> Path:
    patterns = ["config.json", *_TOKENIZER_FILES]
    try:
        if weights:
            files = [file.rfilename for file in HfApi().model_info(name, timeout=30).siblings or []]
            patterns += _weight_names(files)
        folder = Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # what it raises without a network depends on the HTTP client of its version
        if says_disk_full(error):
            raise DiskFull(Path(constants.HF_HUB_CACHE), f"the hub's checkpoint {name} takes about 2 GB") from error
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{name}: there is no folder of this name, and the Hugging Face hub did not give it ({reason}). Check the "
            f"name and the network, or run `hf download {name} --local-dir FOLDER` where the hub can be reached, bring "
            "the folder here, and give its path instead of the name."
        ) from error
    if weights:
        weight_files(folder)
    return folder
