"""`make results` writes the table into its page and draws README's picture from a comparison."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def script() -> Any:
    spec = importlib.util.spec_from_file_location("write_results", PROJECT / "scripts" / "write_results.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def comparison() -> dict[str, Any]:
    """What the picture reads of comparison.json."""
    described: dict[str, dict[str, Any]] = {
        "exp1": {"kind": "experiment", "modalities": "text, video", "train": "everything", "head": "trained"},
        "exp6": {"kind": "experiment", "modalities": "text, video, audio", "train": "lora", "head": "frozen"},
        "exp3": {"kind": "experiment", "modalities": "text, video", "train": "head", "head": "trained"},
        "TF-IDF": {"kind": "reference"},
    }
    scores = zip(described, (0.4, 0.7, 0.3, 0.35), strict=True)
    macro_f1 = {name: {"value": score, "low": score - 0.1, "high": score + 0.1} for name, score in scores}
    systems = {name: {**words, "seeds": [1, 2], "macro_f1": macro_f1[name]} for name, words in described.items()}
    return {"settings": {"confidence": 0.95}, "systems": systems}


def test_the_picture_has_a_row_for_each_experiment_the_best_on_top(script: Any) -> None:
    (ax,) = script.draw(comparison()).axes
    rows = [label.get_text() for label in ax.get_yticklabels()]  # from the bottom
    assert rows == ["exp3: head only", "exp1: everything trained", "exp6: adapters"]
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
