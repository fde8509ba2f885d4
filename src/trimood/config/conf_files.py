"""The YAML files of the configuration: finds and reads them, and names file and line of what is wrong."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import yaml
from fsspec.core import OpenFile, url_to_fs
from omegaconf import OmegaConf

_ARCHIVES = {".tar": "tar", ".tar.gz": "tar", ".tgz": "tar", ".zip": "zip"}

# Numbers that YAML and a reader take for the same.
_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*|[0-9]*\.[0-9]*([eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfError(ValueError):
    """A file of the configuration cannot be read, is not valid YAML, or is read in another way than it is written."""


def conf_files(source: str, environment: str, pattern: str) -> list[OpenFile]:
    """The files and folders of an environment that match a pattern, except hidden ones, sorted by path.

    `source`: a folder, an archive written by `kedro package`, or an fsspec URL.
    """
    inside = f"{environment}/{pattern}"
    protocol = next((kind for ending, kind in _ARCHIVES.items() if source.endswith(ending)), None)
    files, path = url_to_fs(f"{protocol}://*/{inside}::{source}" if protocol else f"{source}/{inside}")
    return [
        OpenFile(files, found) for found in sorted(files.glob(path)) if not PurePosixPath(found).name.startswith(".")
    ]


def check_conf_files(source: str, environments: tuple[str, ...]) -> None:
    """Checks all YAML files of some environments. Raises ConfError for the first file with an error."""
    for environment in dict.fromkeys(environments):
        for file in conf_files(source, environment, "**/*.y*ml"):
            read_node(file)


def read_node(file: OpenFile) -> yaml.Node | None:
    """Reads a YAML file as a tree of nodes, None for an empty file. Raises ConfError."""
    try:
        with file as opened:
            content = opened.read()
        node = yaml.compose(content.decode("utf-8-sig"), Loader=_LOADER)
        problems = list(problems_in(node, "")) if node else []
    except OSError as error:
        why = "it is a folder" if isinstance(error, IsADirectoryError) else error.strerror or error
        raise ConfError(f"{file.path}: cannot be read: {why}. Make it a readable file, or remove it.") from error
    except UnicodeDecodeError as error:
        raise ConfError(f"{file.path}: not UTF-8 (byte {error.start}). Save it as UTF-8.") from error
    except yaml.YAMLError as error:
        raise ConfError(f"{file.path}{yaml_problem(error)}") from error
    except RecursionError:
        raise ConfError(f"{file.path}: it is nested too deeply, or a part of it contains itself.") from None
    if problems:
        raise ConfError(f"{file.path}, {problems[0]}")
    return node


def yaml_problem(error: yaml.YAMLError) -> str:
    """The line, if known, and the problem of a YAML error: ", line 3: not valid YAML: …"."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{f', line {mark.line + 1}' if mark else ''}: not valid YAML: {problem}"


def problems_in(node: yaml.Node, path: str) -> Iterator[str]:
    """Keys that are given twice, and numbers that YAML reads as others, as "line 3: training.seed: …"."""
    line = f"line {node.start_mark.line + 1}: {path}"
    if isinstance(node, yaml.ScalarNode) and not node.style and (problem := misread(node.value)):
        yield f"{line}: {problem}"
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from problems_in(item, path)
    elif isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = f"{path}.{key.value}".strip(".")
            if isinstance(key, yaml.ScalarNode) and key.value in seen and key.value != "<<":
                yield f"line {key.start_mark.line + 1}: {name}: this key is given twice. Remove one."
            seen.add(str(key.value))
            yield from problems_in(value, name)


def misread(text: str) -> str | None:
    """What is wrong with a plain YAML number that is read as another one than it seems, such as 042; else None."""
    if not re.match(r"[-+.]?[0-9]", text) or _PLAIN_NUMBER.fullmatch(text):
        return None
    try:
        value = OmegaConf.create(f"value: {text}").value
    except (yaml.YAMLError, ValueError):
        return None
    if not isinstance(value, int | float):
        return None
    return (
        f"YAML reads {text} as {value}. Write {value} if you mean that, the number without leading 0, _ and : if you "
        f'mean another, or "{text}" in double quotes for text.'
    )
