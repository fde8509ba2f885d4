"""Finds the experiments: the YAML files in the folder `experiments` of the configuration's environments."""

import keyword
import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import yaml
from fsspec.core import OpenFile

from trimood.config.conf_files import ConfError, conf_files, read_node

_read: tuple[str, tuple[str, ...], tuple[str, ...]] | None = None  # source, environments, names


class ExperimentFileError(ConfError):
    """There is no experiment, or an experiment's file has a wrong name or top key."""


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

    `source`: as for `conf_files`. `environments`: its subfolders to read, such as `base` and `demo`. Raises ConfError.
    """
    global _read  # Kedro calls `register_pipelines` without arguments
    before, _read = _read, (source, environments, find_experiments(source, environments))
    return before != _read


def find_experiments(source: str, environments: tuple[str, ...]) -> tuple[str, ...]:
    """The sorted names of the experiments in a configuration; parameters as for `read_experiments`."""
    names: dict[str, str] = {}  # by their lower case
    for environment in environments:
        for file in conf_files(source, environment, "experiments/**"):
            if name := _name_of(file, f"{environment}/experiments"):
                other = names.setdefault(name.lower(), name)
                if other != name:
                    raise ExperimentFileError(
                        f"{file.path}: {name!r} and the experiment {other!r} differ only in upper and lower case, "
                        "so some disks take their results for the same files. Rename one and its top key."
                    )
    if not names:
        raise ExperimentFileError(
            f"{source}: no experiments here; expected files such as base/experiments/exp1.yml. Give the folder or "
            "archive of the configuration: --conf-source=FOLDER-OR-ARCHIVE"
        )
    return tuple(sorted(names.values()))


def _name_of(file: OpenFile, folder: str) -> str | None:
    """The name of the experiment in a file, None for a file of another kind. Raises ConfError."""
    path = PurePosixPath(file.path)
    if path.suffix.lower() not in (".yml", ".yaml"):
        return None
    if path.suffix != ".yml":
        raise ExperimentFileError(f"{path}: rename it to {path.stem}.yml; the file of an experiment ends with .yml.")
    if not str(path.parent).endswith(folder):
        raise ExperimentFileError(f"{path}: experiments in sub-folders are not read. Move the file to {folder}/.")
    if not re.fullmatch("[a-zA-Z][a-zA-Z0-9_]*", path.stem) or not _is_free(path.stem):
        raise ExperimentFileError(
            f"{path}: {path.stem!r} cannot be the name of an experiment; allowed are letters from a to z, digits "
            "and _, a letter at the start, and no word of Python or YAML. Rename the file and its top key."
        )
    node = read_node(file)
    keys = [key.value for key, _ in node.value] if isinstance(node, yaml.MappingNode) else []
    if keys != [path.stem]:
        found = f"the top keys are {keys}" if keys else "it has no top key"
        raise ExperimentFileError(
            f"{path}: {found}; allowed is exactly one, {path.stem!r}: the file, its top key and the "
            "pipeline have the same name. Rename the key or the file."
        )
    return path.stem


def question_of(experiment: str) -> str:
    """The question in the first line of an experiment's file, "# exp1 - how good is …?"; "" if it has none."""
    source, environments, _ = _read or ("", (), ())
    for environment in reversed(environments):
        for file in conf_files(source, environment, f"experiments/{experiment}.yml"):
            with file as opened:
                first = opened.readline().decode("utf-8-sig").strip()
            if first.startswith("#"):
                return first.lstrip("# ").removeprefix(f"{experiment} - ")
    return ""


def _is_free(name: str) -> bool:
    """Whether neither Python nor YAML reads it as a word of its own in any case, such as `class`, `None` or `yES`."""
    lower = name.lower()
    return not keyword.iskeyword(lower) and not keyword.iskeyword(name.title()) and yaml.safe_load(lower) == lower


def experiment_of(namespace: str | None, names: Sequence[str]) -> str | None:
    """Returns which of `names` a node of this namespace belongs to; None for a shared stage."""
    first = (namespace or "").split(".")[0]
    return first if first in names else None
