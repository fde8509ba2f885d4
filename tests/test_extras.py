"""Without the packages of the extras: everything can be imported, and a command that needs one names it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pandas as pd
import pytest
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
from packaging.requirements import Requirement

from support.demo_project import PROJECT
from trimood import cli
from trimood.config.experiment_settings import LoraParams, LossParams, TrainingParams
from trimood.config.parameters import ClipParams, CompareParams, TuneParams
from trimood.learning.search.space import StudyError
from trimood.media.errors import PreparationError
from trimood.media.execution import Execution, run_each
from trimood.pipelines.export_weights.nodes import describe
from trimood.pipelines.tune.nodes import plan_search
from trimood.serving.onnx_export import ExportError

MODULES = {
    "app": ["gradio"],
    "decord": ["decord"],
    "onnx": ["onnx", "onnxruntime", "onnxscript"],
    "ray": ["ray"],
    "tune": ["optuna"],
    "viz": ["kedro_viz"],
}
ALL_MODULES = [module for modules in MODULES.values() for module in modules]


def without(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Imports behave as if the extra's packages were not installed."""
    for module in MODULES[extra]:
        monkeypatch.setitem(sys.modules, module, None)


def test_there_is_an_extra_for_each_of_these_packages_and_none_is_required() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {
        extra: [Requirement(line).name.replace("-", "_") for line in lines]
        for extra, lines in project["optional-dependencies"].items()
    }
    assert extras == MODULES
    required = {Requirement(line).name.replace("-", "_") for line in project["dependencies"]}
    assert "kedro" in required
    assert not required & set(ALL_MODULES)


@pytest.mark.slow
def test_every_module_is_imported_and_every_pipeline_is_made_without_any_extra() -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        f"sys.modules.update(dict.fromkeys({ALL_MODULES}))\n"
        "import trimood\n"
        "names = [module.name for module in pkgutil.walk_packages(trimood.__path__, 'trimood.')]\n"
        # Of a search alone, which `plan_search` does not begin without Optuna.
        "names.remove('trimood.learning.search.study')\n"
        "names.remove('trimood.pipelines.tune.trial')\n"
        "names.remove('trimood.pipelines.tune.side_by_side')\n"
        # Of the page alone, which `kedro app` does not begin without Gradio.
        "names.remove('trimood.app.page')\n"
        "names = [name for name in names if not name.endswith('__main__')]\n"
        "for name in names: importlib.import_module(name)\n"
        "from kedro.framework.project import configure_project\n"
        "configure_project('trimood')\n"
        "from trimood.pipeline_registry import register_pipelines\n"
        "print(len(names), sorted(register_pipelines()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    count, _, names = done.stdout.partition(" ")
    assert int(count) > 80
    assert {"exp1", "tune", "check_data"} <= set(eval(names))  # noqa: S307 - of our own making


def test_the_page_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    without("app", monkeypatch)
    said = CliRunner().invoke(cli.app, [])
    assert said.exit_code == 1
    assert said.output == "Error: kedro app needs Gradio, which is not installed: pip install 'trimood[app]'\n"


def test_a_search_names_its_extra_before_it_looks_at_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    without("tune", monkeypatch)
    blocks = (TrainingParams, LoraParams, LossParams, TuneParams, ClipParams)
    with pytest.raises(StudyError, match=r"needs Optuna, which is not installed: pip install 'trimood\[tune\]'"):
        plan_search("exp4", {}, *(block.model_construct() for block in blocks), "", "", "")


def test_ray_names_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without("ray", monkeypatch)
    with pytest.raises(PreparationError, match=r"Ray is not installed: pip install 'trimood\[ray\]'"):
        list(run_each(Path.exists, [tmp_path], Execution("ray"), lambda path: path))


def test_an_export_for_onnx_names_its_extra_before_it_looks_at_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    without("onnx", monkeypatch)
    words = r"format=onnx needs .* not installed \(onnx, onnxruntime, onnxscript\): pip install 'trimood\[onnx\]'"
    with pytest.raises(ExportError, match=words):
        describe(None, pd.DataFrame(), lambda *_: None, CompareParams.model_construct(), "onnx")  # type: ignore[arg-type]


@pytest.mark.parametrize("arguments", [[], ["run", "--port", "4141"]])
def test_kedro_viz_names_its_extra(arguments: list[str]) -> None:
    said = CliRunner().invoke(cli.viz, arguments)
    assert said.exit_code == 1
    assert said.output == "Error: kedro viz needs Kedro-Viz, which is not installed: pip install 'trimood[viz]'\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Kedro-Viz, which is loaded here
def test_kedro_viz_itself_takes_precedence_where_it_is_installed() -> None:
    pytest.importorskip("kedro_viz", reason="Kedro-Viz is not installed: its command is NOT checked")
    found = KedroCLI(PROJECT).get_command(None, "viz")  # type: ignore[arg-type]
    assert isinstance(found, click.Group)
