"""`make setup`: which Python it takes, what it says where there is none, and the versions that it installs."""

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from support.demo_project import PROJECT

Make = Callable[..., str]

GNU_MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(GNU_MAKE is None, reason="make is not installed: the Makefile is NOT checked")

PINNED = re.compile(r"^([a-z0-9.-]+)==([^ ;]+)(?: ; (.+))?$")


@pytest.fixture
def on_the_path(tmp_path: Path) -> Path:
    """The only folder of the PATH: bash, which the Makefile asks for, and whatever a test puts there."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "bash").symlink_to(shutil.which("bash") or "/bin/bash")
    return folder


@pytest.fixture
def make(on_the_path: Path, tmp_path: Path) -> Make:
    """Gives what `make ARGUMENTS` says in a checkout without .venv."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.txt"):
        shutil.copy(PROJECT / name, checkout)

    def run(*arguments: str) -> str:
        command = [str(GNU_MAKE), "--no-print-directory", *arguments]
        environment = {"PATH": str(on_the_path), "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)
        assert not (checkout / ".venv").exists()
        return done.stdout + done.stderr

    return run


def put(folder: Path, name: str, does: str) -> None:
    (folder / name).write_text(f"#!/bin/bash\n{does}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def put_python(folder: Path, name: str, version: tuple[int, ...], has_venv: bool = True) -> None:
    """A Python that takes itself for this version."""
    lack = "" if has_venv else "sys.modules['ensurepip'] = None; "
    before = f"import sys; sys.version_info = {version}; {lack}"
    put(folder, name, f'[ "$1" = -c ] || exit 9\nexec {sys.executable} -c "{before}"$\'\\n\'"$2"')


BROKEN_SHIM = 'echo "pyenv: $0: command not found" >&2; exit 127'


@pytest.mark.slow
def test_the_newest_python_that_runs_is_taken(make: Make, on_the_path: Path) -> None:
    put_python(on_the_path, "python3", (3, 11, 2))
    assert "|| python3 -m venv .venv" in make("-n", "setup")
    put_python(on_the_path, "python3.11", (3, 11, 7))
    assert "|| python3.11 -m venv .venv" in make("-n", "setup")
    put_python(on_the_path, "python3.12", (3, 12, 1))
    assert "|| python3.12 -m venv .venv" in make("-n", "setup")
    put(on_the_path, "python3.13", BROKEN_SHIM)
    said = make("-n", "setup")
    assert "|| python3.12 -m venv .venv" in said
    assert "command not found" not in said
    put_python(on_the_path, "python3.13", (3, 13, 0), has_venv=False)
    assert "|| python3.12 -m venv .venv" in make("-n", "setup")
    put_python(on_the_path, "python3.13", (3, 13, 0))
    assert "|| python3.13 -m venv .venv" in make("-n", "setup")


def test_a_python_that_is_named_is_taken(make: Make, on_the_path: Path) -> None:
    put_python(on_the_path, "python3.13", (3, 13, 0))
    assert "|| /else/where/python -m venv .venv" in make("-n", "setup", "PYTHON=/else/where/python")


@pytest.mark.parametrize("version", [(3, 10, 15), (3, 14, 0), (2, 7, 18)])
def test_a_python_of_another_version_is_refused(make: Make, on_the_path: Path, version: tuple[int, ...]) -> None:
    put_python(on_the_path, "python3", version)
    assert "needs Python 3.11, 3.12 or 3.13 with the module venv; what the PATH has does not fit" in make("setup")
    assert "with the module venv; python3 does not fit" in make("setup", "PYTHON=python3")


@pytest.mark.parametrize(
    ("installers", "command"),
    [
        ([], "uv python install 3.13 (uv itself: "),
        (["dnf"], "sudo dnf install python3.13\n"),
        (["apt-get"], "sudo apt-get install python3-venv\n"),
        (["apt-get", "uv"], "uv python install 3.13\n"),
    ],
)
def test_one_command_is_named_that_gets_a_python(
    make: Make, on_the_path: Path, installers: list[str], command: str
) -> None:
    for name in installers:
        put(on_the_path, name, "exit 0")
    said = make("demo")
    assert f"Install one: {command}" in said
    assert "Or say where one is: make demo PYTHON=/path/to/python3.13\n" in said


def test_a_distribution_whose_python_is_of_another_version_is_not_asked_for_it(make: Make, on_the_path: Path) -> None:
    put(on_the_path, "apt-get", "exit 0")
    put_python(on_the_path, "python3", (3, 10, 12))
    assert "Install one: uv python install 3.13" in make("setup")


def test_every_target_says_in_a_line_what_it_does(make: Make, on_the_path: Path) -> None:
    for tool in ("awk", "grep"):
        (on_the_path / tool).symlink_to(shutil.which(tool) or "")
    targets = re.findall(r"^\.PHONY: (\S+)$", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert "setup" in targets
    lines = make("help").splitlines()
    assert [line.split()[1] for line in lines] == targets
    assert len({re.match(r"  make \S+ +", line).end() for line in lines}) == 1  # type: ignore[union-attr]


def test_what_is_installed_is_one_version_of_each_package_that_the_project_names() -> None:
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 200
    pinned = {}
    for line in lines:
        found = PINNED.match(line)  # no address, no option, no range
        assert found, line
        assert found[1] not in pinned, line
        pinned[found[1]] = found[2]
    whole = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    project = whole["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    groups = whole["dependency-groups"]
    dev = [line for line in groups["dev"] if isinstance(line, str)]
    included = [line for group in groups["dev"] if isinstance(group, dict) for line in groups[group["include-group"]]]
    named = [*project["dependencies"], *extras, *dev, *included]
    for requirement in map(Requirement, named):
        name = requirement.name.lower().replace("_", "-")
        assert requirement.specifier.contains(pinned[name]), requirement
