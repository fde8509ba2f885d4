"""A copy of the project in which the real command line has run: for tests that are marked slow."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
COPIED = ("conf", "src", "notebooks", "pyproject.toml", ".telemetry")


@dataclass(frozen=True)
class DemoProject:
    """A folder with the project's code and configuration; what its commands write stays below it."""

    path: Path

    def kedro(
        self, *arguments: str, check: bool = True, environment: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs `kedro ARGUMENTS` in the project; with `check`, a command that fails fails the test with its words."""
        command = [sys.executable, "-m", "kedro", *arguments]
        done = subprocess.run(
            command, cwd=self.path, env=environment or self.environment, capture_output=True, text=True, check=False
        )
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
def demo_project(tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    """A copy of the project in which `kedro run --pipelines=exp3` has made the demo and finished one experiment."""
    project = copy_project(tmp_path_factory.mktemp("demo") / "trimood")
    project.kedro("run", "--pipelines=exp3")
    return project


@pytest.fixture(scope="module")
def own_demo_project(demo_project: DemoProject, tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    """The demo with one run of exp3, whatever other tests have left in theirs."""
    own = copy_project(tmp_path_factory.mktemp("own") / "trimood")
    shutil.copytree(demo_project.path / "data" / "demo", own.path / "data" / "demo", dirs_exist_ok=True)
    own.kedro("run", "--pipelines=exp3")
    return own
