"""The programs of benchmarks/ and scripts/, which the other tests hardly run, fit the package: read, not imported."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from support.demo_project import PROJECT

PROGRAMS = sorted(path for folder in ("benchmarks", "scripts") for path in (PROJECT / folder).rglob("*.py"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def defined(module: str) -> dict[str, ast.stmt]:
    """What a module of trimood defines or imports at its top level, by name; raises ImportError if there is none."""
    path = (PROJECT / "src").joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not file.is_file():
        raise ImportError(f"no module {module}")
    found: dict[str, ast.stmt] = {}
    for statement in ast.parse(file.read_bytes()).body:
        for node in ast.walk(statement) if isinstance(statement, ast.If | ast.Try) else [statement]:
            match node:
                case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                    found[node.name] = node
                case ast.Import() | ast.ImportFrom():
                    found |= {alias.asname or alias.name.partition(".")[0]: node for alias in node.names}
                case ast.Assign() | ast.AnnAssign():
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    names = [name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)]
                    found |= dict.fromkeys(names, node)
    if path.is_dir():
        found |= {
            one.stem: ast.Pass() for one in path.iterdir() if one.suffix == ".py" or (one / "__init__.py").exists()
        }
    return found


def misfits(source: str) -> Iterator[str]:
    """Names that trimood lacks, and calls of its functions that they do not take."""
    tree = ast.parse(source)
    functions: dict[str, Function] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for (module, name), alias in zip(wanted, node.names, strict=True):
            if module.split(".")[0] != "trimood":
                continue
            try:
                found = defined(module)
            except ImportError as error:
                yield f"line {node.lineno}: {error}"
                continue
            if name and name not in found:
                yield f"line {node.lineno}: {module} has no {name}"
            elif name and isinstance(function := found[name], Function) and not function.decorator_list:
                functions[alias.asname or name] = function
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in functions:
            yield from (f"line {call.lineno}: {words}" for words in refused(call, functions[call.func.id]))


def refused(call: ast.Call, function: Function) -> Iterator[str]:
    """Why a function does not take a call, as far as the call says its arguments one by one."""
    arguments = function.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    required = {*positional[: len(positional) - len(arguments.defaults)]}
    required |= {
        one.arg for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not default
    }
    keywords = {keyword.arg for keyword in call.keywords if keyword.arg}
    if not arguments.kwarg:
        unknown = keywords - {*positional, *(one.arg for one in arguments.kwonlyargs)}
        yield from (f"{function.name} takes no {name}" for name in sorted(unknown))
    open_ended = any(isinstance(one, ast.Starred) for one in call.args) or any(not one.arg for one in call.keywords)
    if not open_ended:
        yield from (
            f"{function.name} needs {name}" for name in sorted(required - keywords - {*positional[: len(call.args)]})
        )
        if len(call.args) > len(positional) and not arguments.vararg:
            yield f"{function.name} takes {len(positional)} arguments in order at most"


def test_there_are_programs() -> None:
    assert {path.parent.name for path in PROGRAMS} == {"benchmarks", "scripts"}
    assert sum("from trimood" in path.read_text(encoding="utf-8") for path in PROGRAMS) > 8


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.name)
def test_a_program_compiles_and_uses_what_the_package_has(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    compile(source, path.name, "exec")
    assert list(misfits(source)) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import trimood.nowhere", "line 1: no module trimood.nowhere"),
        ("from trimood.nowhere import x", "line 1: no module trimood.nowhere"),
        ("def main():\n    from trimood.emotions import EMOTION", "line 2: trimood.emotions has no EMOTION"),
        ("from trimood.media.audio import log_mel\nlog_mel(1)", "line 2: log_mel needs recipe"),
        ("from trimood.media.audio import log_mel as f\nf(1, recip=2)", "line 2: log_mel takes no recip"),
        ("from trimood.media.audio import log_mel\nlog_mel(1, 2, 3)", "log_mel takes 2 arguments in order at most"),
    ],
)  # fmt: skip
def test_a_misfit_is_noticed(source: str, words: str) -> None:
    assert any(words in found for found in misfits(source)), list(misfits(source))


def test_what_fits_is_none() -> None:
    source = (
        "from trimood.media.audio import log_mel\nfrom trimood.emotions import EMOTIONS\nlog_mel(*given)\nlog_mel(1, 2)"
    )
    assert list(misfits(source)) == []
    assert list(misfits("from trimood.media import audio\nimport trimood.media.audio\nimport torch")) == []
