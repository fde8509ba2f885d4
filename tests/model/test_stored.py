"""The version of the code by which a finished training is known to be the same."""

import ast
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

import trimood
from trimood.model import stored
from trimood.model.stored import SCORES_OF_A_RUN, code_version, decisive_modules

PACKAGE = Path(trimood.__file__).parent


def scoring_imports(files: Iterable[Path]) -> set[str]:
    """The modules of the room `scoring` that these files import, at their top or within a function."""
    found: set[str] = set()
    texts = (path.read_text(encoding="utf-8") for path in files)
    for text in texts:
        for node in ast.walk(ast.parse(text)) if "scoring" in text else ():
            if isinstance(node, ast.ImportFrom) and node.module == "trimood.scoring":
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("trimood.scoring."):
                found.add(str(node.module).rpartition(".")[2])
    return found


def test_every_module_that_scores_a_run_counts_and_none_that_only_compares() -> None:
    """Those that an experiment's pipeline, its training and its model import, and those that these import in turn."""
    files = [path for room in ("learning", "model", "pipelines/experiment") for path in (PACKAGE / room).rglob("*.py")]
    found, new = set(), scoring_imports(files)
    while new:
        found |= new
        new = scoring_imports(PACKAGE / "scoring" / f"{name}.py" for name in new) - found
    assert found == set(SCORES_OF_A_RUN)


@pytest.mark.parametrize(
    ("module", "counts"),
    [
        ("scoring/metrics.py", True),
        ("scoring/ablation.py", True),
        ("scoring/calibration.py", True),
        ("scoring/intervals.py", True),
        ("learning/trainer.py", True),
        ("model/heads.py", True),
        ("media/audio.py", True),
        ("scoring/verdict.py", False),
        ("scoring/agreement.py", False),
        ("reports/answers.py", False),
    ],
)
def test_a_changed_module_makes_another_version_if_it_makes_another_result(
    module: str, counts: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = shutil.copytree(PACKAGE, tmp_path / "trimood", ignore=shutil.ignore_patterns("[!_]*.json", "__pycache__"))
    monkeypatch.setattr(stored, "__file__", str(copied / "model" / "stored.py"))
    code_version.cache_clear()
    before = code_version()
    assert decisive_modules(copied)
    with (copied / module).open("a") as file:
        file.write("# changed\n")
    code_version.cache_clear()
    after = code_version()
    code_version.cache_clear()
    assert (after != before) is counts
