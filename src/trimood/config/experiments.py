"""Finds the experiments: the YAML files in the folder `experiments` of the configuration's environments."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import fsspec
import yaml
from fsspec.core import OpenFile

_ARCHIVES = {".tar": "tar", ".tar.gz": "tar", ".tgz": "tar", ".zip": "zip"}

_read: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None  # source, environments, names


class ExperimentFileError(ValueError):
    """There is no experiment, or an experiment's file has a wrong name or top key, or is not valid YAML."""


def experiment_names() -> list[str]:
    """Names of the experiments of the configuration that was read last, sorted. Raises ExperimentFileError."""
    if _read is None:
        raise ExperimentFileError("No configuration was read yet: call read_experiments first.")
    return list(_read[2])


def source_of_experiments() -> tuple[str, tuple[str, ...]] | None:
    """The configuration that was read last and its environments; None before any was read."""
    return _read and _read[:2]


def read_experiments(source: str, environments: tuple[str, ...]) -> bool:
    """Finds the experiments of a configuration; returns whether they differ from those known before.

    `source`: a folder, an archive written by `kedro package`, or an fsspec URL. `environments`: its subfolders to
    read, such as `base` and `demo`. Raises ExperimentFileError.
    """
    global _read  # Kedro calls `register_pipelines` without arguments
    before, _read = _read, (source, environments, find_experiments(source, environments))
    return before != _read


def find_experiments(source: str, environments: tuple[str, ...]) -> tuple[str, ...]:
    """The sorted names of the experiments in a configuration; parameters as for `read_experiments`."""
    names = {name for environment in environments for name in _in_environment(source, environment)}
    if not names:
        raise ExperimentFileError(
            f"{source}: no experiments here; expected files such as base/experiments/exp1.yml. Give the folder or "
            "archive of the configuration: --conf-source=FOLDER-OR-ARCHIVE"
        )
    return tuple(sorted(names))


def _in_environment(source: str, environment: str) -> list[str]:
    inside = f"{environment}/experiments/*.y*ml"
    protocol = next((kind for ending, kind in _ARCHIVES.items() if source.endswith(ending)), None)
    files = fsspec.open_files(f"{protocol}://*/{inside}::{source}" if protocol else f"{source}/{inside}")
    return [_checked(file) for file in files]


def _checked(file: OpenFile) -> str:
    """The name of the experiment in a file. Raises ExperimentFileError."""
    path = PurePosixPath(file.path)
    if path.suffix != ".yml":
        raise ExperimentFileError(f"{path}: rename it to {path.stem}.yml; the file of an experiment ends with .yml.")
    if not path.stem.isidentifier():
        raise ExperimentFileError(
            f"{path}: {path.stem!r} cannot be the name of an experiment; allowed are letters, digits and _, but no "
            "digit at the start. Rename the file and its top key."
        )
    try:
        with file as opened:
            content = yaml.safe_load(opened)
    except yaml.YAMLError as error:
        raise ExperimentFileError(f"{path}: not valid YAML: {error}") from error
    keys = list(content) if isinstance(content, dict) else []
    if keys != [path.stem]:
        raise ExperimentFileError(
            f"{path}: the top keys are {keys}; allowed is exactly one, {path.stem!r}: the file, its top key and the "
            "pipeline have the same name. Rename the key or the file."
        )
    return path.stem


def experiment_of(namespace: str | None, names: Sequence[str]) -> str | None:
    """Returns which of `names` a node of this namespace belongs to; None for a shared stage."""
    first = (namespace or "").split(".")[0]
    return first if first in names else None
