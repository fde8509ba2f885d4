"""A copy of the project in which the real command line has run: for tests that are marked slow."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from support.command_server import command_server

PROJECT = Path(__file__).parents[2]
COPIED = ("conf", "src", "notebooks", "pyproject.toml", ".telemetry")


@dataclass(frozen=True)
class DemoProject:
    """A folder with the project's code and configuration; what its commands write stays below it."""

    path: Path

    def kedro(
        self, *arguments: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs `kedro ARGUMENTS` in the project; with `check`, a command that fails fails the test with its words.

        It imports the copy's code anew only if it is given an environment of its own, which libraries read as they
        are imported.
        """
        if environment is None:
            done = command_server().run(self.path, *arguments)
        else:
            command = [sys.executable, "-m", "kedro", *arguments]
            done = subprocess.run(command, cwd=self.path, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0 or not check, f"kedro {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    def refused(self, *arguments: str) -> str:
        """What a `kedro run` that must fail says: words for people, no stack of frames."""
        done = self.kedro("run", *arguments, check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0, said
        assert "Traceback" not in said
        assert "Error: " in said
        return said

    @property
    def environment(self) -> dict[str, str]:
        """The caller's, but for what would lead a command out of the copy: another store, another environment."""
        return {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "KEDRO_ENV", "PYTHONPATH")}


def copy_project(target: Path) -> DemoProject:
    """Copies code, configuration and notebooks to `target`, and makes the empty data folders."""
    target.mkdir(parents=True)
    for name in COPIED:
        source = PROJECT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "local")
            shutil.copytree(source, target / name, ignore=ignored)
        elif source.exists():
            shutil.copy(source, target / name)
    for kept in sorted((PROJECT / "data").glob("*/.gitkeep")):
        (target / "data" / kept.parent.name).mkdir(parents=True)
    return DemoProject(target)


@pytest.fixture(scope="session")
def finished_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which `kedro run --pipelines=exp3` has made the demo and finished; made once for all processes."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    folder, whole = root / "finished" / "trimood", root / "finished" / "whole"
    with FileLock(root / "finished.lock"):
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            project = copy_project(folder)
            project.kedro("run", "--pipelines=exp3", environment=project.environment)
            whole.touch()
    return folder


def fresh_demo(finished: Path, target: Path) -> DemoProject:
    """A project in which nothing has run, beside the corpus, checkpoints and prepared clips of a finished demo."""
    project = copy_project(target)
    for folder in ("01_raw", "04_feature/prepared_clips"):
        shutil.copytree(finished / "data/demo" / folder, target / "data/demo" / folder)
    return project


def _copy(finished: Path, target: Path) -> DemoProject:
    """Copies a finished demo with its runs, which the next command finds at their new place."""
    shutil.copytree(finished, target)
    project = DemoProject(target)
    done = project.kedro("run", "--pipelines=exp3")
    assert "exp3 is finished" in done.stderr + done.stdout
    return project


@pytest.fixture(scope="session")
def demo_project(finished_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    """The finished demo, for all tests of this process."""
    return _copy(finished_demo, tmp_path_factory.mktemp("demo") / "trimood")


@pytest.fixture(scope="module")
def own_demo_project(finished_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    """The finished demo, whatever other tests have left in theirs."""
    return _copy(finished_demo, tmp_path_factory.mktemp("own") / "trimood")
