"""Which experiments there are: the YAML files in the folder `experiments` of the configuration's environments."""

from collections.abc import Sequence
from pathlib import PurePosixPath

import fsspec
import yaml
from fsspec.core import OpenFile

_ARCHIVES = {".tar": "tar", ".tar.gz": "tar", ".tgz": "tar", ".zip": "zip"}

_read: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None  # source, environments, names


class ExperimentFileError(ValueError):
    """There is no experiment, or the file of one has a wrong name or a wrong top key, or is no YAML."""


def experiment_names() -> list[str]:
    """Names of the experiments of the configuration that was read last, sorted. Raises ExperimentFileError."""
    if _read is None:
        raise ExperimentFileError("No configuration was read yet, so no experiment is known.")
    return list(_read[2])


def source_of_experiments() -> tuple[str, tuple[str, ...]] | None:
    """The configuration that was read last and its environments; None before any was read."""
    return _read and _read[:2]


def read_experiments(source: str, environments: tuple[str, ...]) -> bool:
    """Finds the experiments of a configuration; returns whether they are others than those known before.

    `source`: a folder, an archive that `kedro package` wrote, or an address that fsspec knows. `environments`: folders
    in it, as `base` and `demo`. Raises ExperimentFileError.
    """
    global _read  # Kedro calls `register_pipelines` without arguments
    before, _read = _read, (source, environments, find_experiments(source, environments))
    return before != _read


def find_experiments(source: str, environments: tuple[str, ...]) -> tuple[str, ...]:
    """The sorted names of the experiments in a configuration, as `read_experiments` takes it."""
    names = {name for environment in environments for name in _in_environment(source, environment)}
    if not names:
        raise ExperimentFileError(
            f"{source}: no experiments are there, which would be files such as base/experiments/exp1.yml. Say where "
            "the configuration is: --conf-source=FOLDER-OR-ARCHIVE"
        )
    return tuple(sorted(names))


def _in_environment(source: str, environment: str) -> list[str]:
    inside = f"{environment}/experiments/*.y*ml"
    protocol = next((kind for ending, kind in _ARCHIVES.items() if source.endswith(ending)), None)
    files = fsspec.open_files(f"{protocol}://*/{inside}::{source}" if protocol else f"{source}/{inside}")
    return [_checked(file) for file in files]


def _checked(file: OpenFile) -> str:
    """The name of the experiment in a file."""
    path = PurePosixPath(file.path)
    if path.suffix != ".yml":
        raise ExperimentFileError(f"{path}: rename it to {path.stem}.yml; the file of an experiment ends with .yml.")
    if not path.stem.isidentifier():
        raise ExperimentFileError(
            f"{path}: {path.stem!r} cannot be the name of an experiment; allowed are letters, digits and _, without a "
            "digit at the start. Rename the file and its top key."
        )
    try:
        with file as opened:
            content = yaml.safe_load(opened)
    except yaml.YAMLError as error:
        raise ExperimentFileError(f"{path}: it is no YAML: {error}") from error
    keys = list(content) if isinstance(content, dict) else []
    if keys != [path.stem]:
        raise ExperimentFileError(
            f"{path}: the top keys are {keys}; allowed is exactly one, {path.stem!r}: the file, its top key and the "
            "pipeline have the same name. Rename the key or the file."
        )
    return path.stem


def experiment_of(namespace: str | None, names: Sequence[str]) -> str | None:
    """The one of `names` that a node of this namespace belongs to; None for the shared stages."""
    first = (namespace or "").split(".")[0]
    return first if first in names else None
