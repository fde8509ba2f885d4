"""The tables of docs/memory.md are those that the model of memory gives."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("write_memory", PROJECT / "scripts" / "write_memory.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow  # builds nine models of the published size without their weights
def test_the_committed_tables_are_current(script: Any) -> None:
    tables = script.tables()
    assert tables.count("\n| exp1 ") + tables.count("\n| exp4 ") + tables.count("\n| exp6 ") == 3 + len(script.MEASURED)
    assert f"{script.BEGIN}\n{tables}\n{script.END}" in script.PAGE.read_text(encoding="utf-8")


def test_a_page_without_marks_is_refused(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "memory.md"
    page.write_text("no marks", encoding="utf-8")
    monkeypatch.setattr(script, "PAGE", page)
    with pytest.raises(SystemExit, match="must both be in it"):
        script.main()
