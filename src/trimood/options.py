"""Options of `kedro run`: reads --params as they are written, and refuses names that do not exist."""

import re
from collections.abc import Collection, Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import click
import yaml
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner
from kedro.utils import load_obj
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from trimood.config.conf_files import misread, problems_in, yaml_problem
from trimood.config.parameters import did_you_mean, listed

_ITEM = re.compile(r'(?:"(?:\\.|[^"\\])*"|\[[^\]]*\]|\{(?:[^{}]|\{[^{}]*\})*\}|[^,])+')

_RUNNERS = ("SequentialRunner", "ThreadRunner", "ParallelRunner")

SHOWN = 25
"""Maximum number of allowed names that an error lists."""


def read_params(written: str, types: Mapping[str, object]) -> dict[str, Any]:
    """Reads "a.b=1,c=[x,y]" as nested blocks. A comma within brackets, braces or double quotes separates nothing.

    `types`: the type of each top-level parameter. A text is taken as it is written, except null and ~ where a value may
    be missing; elsewhere a plain value is a number, true, false or null if it is written as one, else text. Raises
    UsageError.
    """
    params = OmegaConf.create({})
    seen: set[str] = set()
    for item in filter(str.strip, _ITEM.findall(written)):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name):
            raise click.UsageError(
                f"--params {item.strip()}: expected NAME=VALUE, as in --params training.seed=1,text=Hi. A list needs "
                'brackets, seeds=[1,2], and text with a comma double quotes, text="Oh, no!"'
            )
        if twice := [
            other for other in seen if f"{name}.".startswith(f"{other}.") or f"{other}.".startswith(f"{name}.")
        ]:
            raise click.UsageError(f"--params {name}: given twice, also as {twice[0]}. Give it once.")
        seen.add(name)
        try:
            OmegaConf.update(params, name, _value(name, value, types))
        except (OmegaConfBaseException, ValueError, TypeError, RecursionError) as error:
            problem = next(iter(str(error).splitlines()), "")
            raise click.UsageError(f"--params {item.strip()}: {problem}") from None
    return dict(OmegaConf.to_container(params))  # type: ignore[arg-type]  # never a list here


def _value(name: str, written: str, types: Mapping[str, object]) -> object:
    """Raises ValueError for what YAML cannot read, or reads in another way than it is written."""
    if "${" in written:
        raise ValueError("${…} is not replaced here. Give the value itself; text with ${ can be given in a file.")
    kinds = _kinds(name, types)
    if written[:1] not in ('"', "'", "[", "{"):
        if str not in kinds:
            return _plain(written, kinds)
        return None if type(None) in kinds and written.lower() in ("null", "~") else written
    try:
        node = yaml.compose(written, Loader=yaml.SafeLoader)
        if str in kinds and isinstance(node, yaml.SequenceNode):
            return [item.value for item in node.value]
        if str in kinds and isinstance(node, yaml.ScalarNode):
            return node.value
        if node and (problem := next(problems_in(node, ""), None)):
            raise ValueError(problem.partition(": ")[2].removeprefix(": "))
        return OmegaConf.to_container(OmegaConf.create(f"value: {written}"))["value"]  # type: ignore[index,call-overload]
    except yaml.YAMLError as error:
        raise ValueError(
            f"{yaml_problem(error).partition(': ')[2]}. Close every bracket and quote; put text that begins with one "
            'into double quotes: text="[sighs] Oh, no!"'
        ) from None


def _plain(written: str, kinds: Collection[object]) -> object:
    if problem := misread(written):
        raise ValueError(problem)
    if re.fullmatch("[-+]?0[0-9]+", written):
        raise ValueError(f"a number does not begin with 0. Write {int(written)}")
    if written.startswith("!"):
        raise ValueError("a YAML tag is not allowed; put text that begins with ! into double quotes")
    is_word = re.fullmatch("true|false|null" + "|yes|no|on|off" * (bool in kinds), written, re.IGNORECASE)
    if not is_word and not re.match(r"[-+.]?[0-9.]", written):
        return written
    try:
        value = OmegaConf.create(f"value: {written}").value
    except (yaml.YAMLError, OmegaConfBaseException):
        return written
    return value if value is None or isinstance(value, bool | int | float) else written


def _kinds(name: str, types: Mapping[str, object]) -> tuple[object, ...]:
    """The type of a parameter, or the types in its union or list; empty if it has none."""
    first, *rest = name.split(".")
    kind = types.get(first)
    for part in rest:
        field = getattr(kind, "model_fields", {}).get(part)
        kind = field.annotation if field else None
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_args(kind) if isinstance(kind, UnionType) or get_origin(kind) in (Union, tuple) else (kind,)


def without_deprecated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Replaces --pipeline and --async by their successors, so that Kedro prints no deprecation. Raises UsageError."""
    given = dict(options)
    if given["pipeline"] and given["pipelines"]:
        raise click.UsageError("--pipeline and --pipelines are both given; give all names with --pipelines=exp3,exp4.")
    if given["pipeline"]:
        given |= {"pipeline": None, "pipelines": [given["pipeline"]]}
    if given["is_async"]:
        given |= {"is_async": False, "runner_params": {**given["runner_params"], "is_async": True}}
    return given


def check_selection(options: Mapping[str, Any], whole: Pipeline) -> None:
    """Raises UsageError for a node, tag, dataset or namespace that is not in `whole`, or if no node is selected."""
    nodes = {node.name for node in whole.nodes}
    namespaces = {node.namespace for node in whole.nodes if node.namespace}
    allowed: dict[str, tuple[str, Iterable[str]]] = {
        "node_names": ("--nodes", nodes),
        "from_nodes": ("--from-nodes", nodes),
        "to_nodes": ("--to-nodes", nodes),
        "tags": ("--tags", {tag for node in whole.nodes for tag in node.tags}),
        "namespaces": ("--namespaces", namespaces),
        "from_inputs": ("--from-inputs", {name for node in whole.nodes for name in node.inputs}),
        "to_outputs": ("--to-outputs", whole.all_outputs()),
    }
    for option, (written, names) in allowed.items():
        for name in options[option] or ():
            refuse_unless_known(name, sorted(names), f"{written}={name}: not in the chosen pipelines")
    selected = {option: options[option] for option in allowed if option != "namespaces"}
    try:
        whole.filter(**selected, node_namespaces=options["namespaces"])
    except ValueError:
        given = " ".join(
            f"{written}={','.join(options[option])}" for option, (written, _) in allowed.items() if options[option]
        )
        raise click.UsageError(f"{given}: no node of the chosen pipelines fits all of these. Leave one out.") from None


def check_runner(name: str) -> None:
    """Raises UsageError unless `name` is a runner of Kedro, or the import path of a runner."""
    try:
        kind = load_obj(name, "kedro.runner")
    except (ImportError, AttributeError, ValueError):
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, AbstractRunner)):
        refuse_unless_known(name, _RUNNERS, f"--runner={name}: no such runner")
        raise click.UsageError(f"--runner={name}: not a runner. Leave it out.")


def refuse_unless_known(name: str, known: Iterable[str], problem: str) -> None:
    """Raises UsageError with the problem, the known names and those that are spelt like `name`."""
    known = list(known)
    if name not in known:
        raise click.UsageError(f"{problem}; there are: {listed(known, SHOWN)}.{did_you_mean(name, known)}")
