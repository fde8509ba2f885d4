"""`kedro package`: the wheel and the archive of its configuration run where there is no checkout."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from support.demo_project import PROJECT, copy_project

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the archive."""
    project = copy_project(tmp_path_factory.mktemp("packaged") / "trimood")
    for name in ("README.md", "LICENSE"):
        if (PROJECT / name).exists():
            shutil.copy(PROJECT / name, project.path)
    done = project.kedro("package", check=False)
    if done.returncode and "No matching distribution found for hatchling" in done.stdout + done.stderr:
        pytest.skip("kedro package fetches hatchling into an environment of its own, and no package index is in reach")
    assert done.returncode == 0, done.stdout + done.stderr
    return project.path / "dist"


@pytest.fixture(scope="module")
def python(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of another environment: it has this one's libraries, but trimood from the wheel."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    own = next(environment.glob("lib/python*/site-packages"))
    (wheel,) = packages.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", own, wheel]
    subprocess.run(install, check=True)
    # Of a folder that a .pth file names, Python reads no further .pth files: so the checkout stays out.
    (own / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin" / "python"


def trimood(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "KEDRO_ENV", "PYTHONPATH")}
    command = [python, "-m", "trimood", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_package_has_what_it_needs_beside_its_code(python: Path) -> None:
    installed = next(python.parents[1].glob("lib/python*/site-packages/trimood"))
    assert (installed / "py.typed").is_file()
    assert list(installed.rglob("page.html"))


def test_an_experiment_runs_in_an_empty_folder(python: Path, packages: Path, tmp_path: Path) -> None:
    archive = str(packages / "conf-trimood.tar.gz")
    arguments = ["--pipelines=exp3", "--params", "training.num_train_epochs=1"]
    done = trimood(python, tmp_path, f"--conf-source={archive}", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "macro_f1" in json.loads((tmp_path / "data/demo/08_reporting/exp3/scores.json").read_text())["test"]
    assert (tmp_path / "mlflow.db").is_file()
    assert list((tmp_path / "mlruns").rglob("scores.json"))


def test_without_a_configuration_it_says_how_to_give_one(python: Path, tmp_path: Path) -> None:
    done = trimood(python, tmp_path, "--pipelines=exp3")
    assert done.returncode == 2
    assert "no experiments here" in " ".join(done.stderr.split())
    assert "--conf-source=FOLDER-OR-ARCHIVE" in done.stderr
    assert list(tmp_path.iterdir()) == []
