"""Checks of all parameters before anything runs, and messages that are readable and contain no password."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from trimood.config.experiment_settings import ExperimentParams, resolve
from trimood.config.parameters import DataParams, GlobalParams, Paths, Seed, did_you_mean

_PATHS = {name: field.annotation for name, field in Paths.model_fields.items()}
SHARED: Mapping[str, object] = {**_PATHS, "experiment": str, "model": str, "data": DataParams}
"""Top-level parameters that belong to no single stage."""

_WANTED = {
    "tuple_type": "give a list, in brackets: [a,b]",
    "string_type": "Input should be a valid string; text that YAML reads as another type needs double quotes",
}


def check_globals(values: Mapping[str, object]) -> None:
    """Checks globals.yml. Raises ValueError, which names the full path of each wrong key."""
    problems = list(_empty_paths(values))
    try:
        GlobalParams.model_validate(values)
    except ValidationError as error:
        problems += error_lines(error, "globals")
    if problems:
        raise ValueError(f"conf/*/globals.yml is wrong:{_as_list(problems)}")


def _empty_paths(values: Mapping[str, object]) -> Iterator[str]:
    for name in _PATHS:
        if str(values.get(name, name)).strip() == "":  # files would be written to /02_intermediate
            yield f"{name}: the path is empty, as from a shell variable that is not set. Give a folder, or leave it out"


def check_parameters(
    parameters: Mapping[str, object], experiments: Sequence[str], of_stages: Mapping[str, object]
) -> None:
    """Checks the whole parameter tree. Raises ValueError, which names the full path of each wrong key.

    `of_stages`: the type of each top-level parameter that a stage declares.
    """
    types: dict[str, Any] = {**SHARED, **of_stages, **dict.fromkeys(experiments, ExperimentParams)}
    problems = list(_empty_paths(parameters))
    checked = {}
    for name, value in parameters.items():
        if name not in types:
            problems.append(f"{name}: no such parameter; allowed: {', '.join(types)}.{did_you_mean(name, types)}")
            continue
        try:
            checked[name] = TypeAdapter(types[name]).validate_python(value)
        except ValidationError as error:
            problems += error_lines(error, name)
    if (named := checked.get("experiment")) is not None and named not in experiments:
        hint = did_you_mean(named, experiments)
        problems.append(f"experiment: {named}: no such experiment; there are: {', '.join(experiments)}.{hint}")
    for name in experiments if not problems else []:
        try:
            resolve(checked[name], checked["training"], checked["lora"], checked["loss"])
        except ValidationError as error:
            problems += error_lines(error, f"{name} (with the shared values)")
    if problems:
        raise ValueError(f"the parameters in conf/ or --params are wrong:{_as_list(problems)}")


def read_seeds(value: object) -> tuple[int, ...]:
    """Parses the parameter `seeds`, one number or a list without repeats. Raises ValueError."""
    given = value if isinstance(value, list) else [value]
    try:
        # As text, true is refused; as it is, pydantic takes it for 1.
        seeds = TypeAdapter(tuple[Seed, ...]).validate_python([str(x) if isinstance(x, bool) else x for x in given])
    except ValidationError as error:
        raise ValueError("\n".join(error_lines(error, "seeds")) + ". Write them as a list: seeds=[1,2,3]") from None
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: got {list(seeds)}; give at least one seed, without repeats: seeds=[1,2,3]")
    return seeds


def read_jobs(value: object) -> int:
    """Parses the parameter `jobs`. Raises ValueError."""
    if type(value) is not int or value < 1:
        raise ValueError(f"jobs: got {value!r}; give the number of trainings at the same time, from 1: jobs=2")
    return value


def error_lines(error: ValidationError, name: str = "") -> list[str]:
    """Returns each problem of a pydantic error as `path: message (got …)`; the path starts with `name`, if given."""
    found = []
    for item in error.errors():
        where = ".".join([*([name] if name else []), *map(str, item["loc"])])
        value = repr(item["input"])
        got = "" if isinstance(item["input"], dict) else f" (got {value if len(value) <= 100 else value[:97] + '…'})"
        wanted = _WANTED.get(item["type"], item["msg"].removeprefix("Value error, "))
        found.append(f"{where}: {wanted}{got}".removeprefix(": "))
    return found


# Up to the last @ before the path, as a password may contain one; but a container of Azure stands before an @, too.
_USER = re.compile(r"\b(?!(?:abfss?|wasbs?):)([a-z][a-z\d+.-]*://)(?:[^\s/?#:@]*:(?!\d+[?#])[^\s/]*|[^\s/?#:]*)@", re.I)
# The values in a URL that work like a password.
_SECRET = re.compile(
    r"(?<=[?&])([\w-]*(?:token|sig|signature|credential|passw(?:or)?d|secret|key(?:id)?))=[^&\s]*", re.I
)


def without_passwords(text: str) -> str:
    """The text, such as a library's error, without the user names, passwords and tokens of the URLs in it."""
    return _SECRET.sub(r"\1=…", _USER.sub(r"\1", text))


def _as_list(problems: list[str]) -> str:
    return "".join(f"\n  - {problem}" for problem in problems)
