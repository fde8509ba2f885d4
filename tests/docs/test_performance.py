"""The page Performance has the figures that were measured last, and says of each part whether it was measured."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]

MACHINE = {
    "processor": "A processor",
    "cores": 2,
    "memory_gib": 8,
    "threads": 1,
    "python": "3.11",
    "torch": "2.11",
    "transformers": "5",
    "peft": "0.21",
}
PAIR = {"ours": 0.25, "upstream": 0.5, "ratio": [2.0, 1.5, 2.5], "rounds": 3}


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("write_performance", PROJECT / "scripts" / "write_performance.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def stored(folder: Path, name: str, figures: object) -> Path:
    about = {"date": "2026-01-02", "command": f"python benchmarks/{name}.py", "machine": MACHINE, "figures": figures}
    (folder / f"{name}.json").write_text(json.dumps(about))
    return folder


def test_the_page_has_the_figures_that_are_stored(script: Any) -> None:
    page = script.PAGE.read_text(encoding="utf-8")
    assert script.renewed(page, script.MEASURED) == page


def test_a_part_is_renewed_by_itself_and_the_others_say_that_they_were_not_measured(
    script: Any, tmp_path: Path
) -> None:
    figures = {
        "steps": {"exp4": PAIR},
        "epochs": {"exp3": {"first": PAIR, "later": {**PAIR, "ours": 0.05}}},
        "clips": {"training": 3, "validation": 2, "preparation": 0.1},
    }
    page = script.renewed(script.PAGE.read_text(encoding="utf-8"), stored(tmp_path, "beside-tiny", figures))
    assert "| exp4 | 250 | 500 | **2.00** (1.50 to 2.50) | 3 |" in page
    # Ten epochs: 5.0 s there; here 0.5 s of preparation, 0.25 s and nine times 0.05 s.
    assert "| exp3 | 0.25 | 0.50 | **2.00** (1.50 to 2.50) | 4.2 | 3 |" in page
    assert page.count("Measured on 2026-01-02 by `python benchmarks/beside-tiny.py`: A processor, 2 cores") == 2
    assert page.count("Not measured.") == len(script.PARTS) - 2
    assert script.renewed(page, tmp_path) == page


def test_a_page_without_a_place_for_a_part_is_refused(script: Any, tmp_path: Path) -> None:
    page = script.PAGE.read_text(encoding="utf-8").replace("measured: stages", "measured: stage")
    with pytest.raises(ValueError, match="stage, start-up"):
        script.renewed(page, tmp_path)
