"""The version of the code by which a finished training is known to be the same."""

import shutil
from pathlib import Path

import grimp
import pytest

import trimood
from trimood.model import stored
from trimood.model.stored import SCORES_OF_A_RUN, code_version, decisive_modules

PACKAGE = Path(trimood.__file__).parent


@pytest.mark.slow
def test_every_module_that_scores_a_run_counts_and_none_that_only_compares() -> None:
    """What the pipeline of an experiment, the training and the model import of the room `scoring`, and what that does."""
    graph = grimp.build_graph("trimood", cache_dir=None)
    importers = {name for name in graph.modules if name.startswith(("trimood.learning", "trimood.model"))}
    importers |= graph.find_descendants("trimood.pipelines.experiment")
    found: set[str] = set()
    while importers:
        of_importers = set().union(*(graph.find_modules_directly_imported_by(name) for name in importers))
        importers = {name for name in of_importers if name.startswith("trimood.scoring.")} - found
        found |= importers
    assert {name.rpartition(".")[2] for name in found} == set(SCORES_OF_A_RUN)


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
