"""Every notebook runs from its first cell to its last on the demo."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from support.demo_project import PROJECT, DemoProject, copy_project

NOTEBOOKS = sorted(path.name for path in (PROJECT / "notebooks").glob("*.ipynb"))


def execute(notebook: Path, environment: dict[str, str]) -> Any:
    """The notebook with its outputs, run in its own folder as Jupyter does."""
    content = nbformat.read(notebook, as_version=4)
    client = NotebookClient(content, timeout=300, resources={"metadata": {"path": str(notebook.parent)}})
    return client.execute(env=environment)


def shown(notebook: Any, kind: str) -> list[str]:
    """All outputs of a MIME type."""
    return [output["data"][kind] for output in outputs(notebook) if kind in output.get("data", {})]


def outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


def test_there_are_notebooks() -> None:
    assert "compare_experiments.ipynb" in NOTEBOOKS


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_kept_without_outputs_and_every_cell_is_introduced(name: str) -> None:
    cells = nbformat.read(PROJECT / "notebooks" / name, as_version=4).cells
    code = [number for number, cell in enumerate(cells) if cell.cell_type == "code"]
    assert code
    for number in code:
        assert cells[number].outputs == []
        assert cells[number].execution_count is None
        assert cells[number - 1].cell_type == "markdown", f"{name}: nothing is said before cell {number}"


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_every_notebook_runs_on_the_demo(name: str, own_demo_project: DemoProject) -> None:
    notebook = execute(own_demo_project.path / "notebooks" / name, own_demo_project.environment)
    assert [output.get("text") for output in outputs(notebook) if output.output_type in ("stream", "error")] == []


@pytest.mark.slow
def test_the_comparison_shows_tables_of_every_run_and_pictures(own_demo_project: DemoProject) -> None:
    notebook = execute(own_demo_project.path / "notebooks" / "compare_experiments.ipynb", own_demo_project.environment)
    tables = "\n".join(shown(notebook, "text/html"))
    for words in ("exp3, seed 42", "test macro F1", "disgust", "validation, share", "head, trained"):
        assert words in tables
    assert len(shown(notebook, "image/png")) == 3  # contact sheet, learning curves, confusion matrix
    (counted,) = shown(notebook, "text/markdown")
    assert re.match(r"1 of 1 runs: .*exp3, seed 42", counted)


@pytest.mark.slow
def test_without_a_run_the_comparison_says_what_to_do(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "trimood")
    with pytest.raises(CellExecutionError, match=r"MLflow holds no run yet\. In a terminal: kedro run --pipelines="):
        execute(project.path / "notebooks" / "compare_experiments.ipynb", project.environment)
