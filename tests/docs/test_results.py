"""`make results` writes the table into its page and draws README's picture from a comparison."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from support.made_systems import made_system
from trimood.config.parameters import CompareParams
from trimood.scoring.comparison import Comparison
from trimood.scoring.verdict import Verdict

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("write_results", PROJECT / "scripts" / "write_results.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def comparison() -> Comparison:
    """Four experiments and the reference that the picture shows."""
    return Comparison(
        settings=CompareParams(baseline="exp1", resamples=100, confidence=0.95, seed=0, runs=()),
        test_utterances=7,
        test_conversations=2,
        systems={
            "exp1": made_system(0.4, modalities="text, video", train="everything", head="trained"),
            "exp6": made_system(0.7, modalities="text, video, audio", train="lora", head="frozen"),
            "exp3": made_system(0.3, modalities="text, video", train="head", head="trained"),
            "exp7": made_system(0.2, modalities="text, video", train="head", head="trained", head_kind="attention"),
            "TF-IDF": made_system(0.35),
        },
        verdict=Verdict(best="exp6", runner_up="exp1", differences={}, settled_by=None),
        published=(),
    )


def test_the_picture_has_a_row_for_each_experiment_the_best_on_top(script: Any) -> None:
    (ax,) = script.draw(comparison()).axes
    rows = [label.get_text() for label in ax.get_yticklabels()]  # from the bottom
    assert rows == ["exp7: head only, attention", "exp3: head only", "exp1: everything trained", "exp6: adapters"]
    assert "mean of 2 seeds and 95 % interval" in ax.get_xlabel()


@pytest.fixture
def page(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "results.md"
        path.write_text(text, encoding="utf-8")
        monkeypatch.setattr(script, "PAGE", path)
        return path

    return write


def test_the_table_replaces_what_is_between_the_marks(script: Any, page: Callable[[str], Path]) -> None:
    path = page(f"before\n{script.BEGIN}old\n{script.END}\nafter\n")
    script.write_table("| new |\n")
    assert path.read_text(encoding="utf-8") == f"before\n{script.BEGIN}\n| new |\n\n{script.END}\nafter\n"


def test_a_page_without_marks_is_refused(script: Any, page: Callable[[str], Path]) -> None:
    page("no marks")
    with pytest.raises(SystemExit, match="must both be in it"):
        script.write_table("| new |\n")


def test_the_committed_page_has_the_marks(script: Any) -> None:
    text = script.PAGE.read_text(encoding="utf-8")
    assert script.BEGIN in text
    assert script.END in text.partition(script.BEGIN)[2]
