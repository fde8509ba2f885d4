"""The comparison by the real command line: two experiments with two seeds of one epoch, on the demo corpus."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from support.demo_project import PROJECT, DemoProject, fresh_demo
from trimood.tracking.store import use_store

pytestmark = pytest.mark.slow

RUN = ("run", "--pipelines=compare", "--params")
HOW = "compare.baseline=exp3,compare.resamples=500"


@pytest.fixture(scope="module")
def project(finished_demo: Path, tmp_path_factory: pytest.TempPathFactory) -> DemoProject:
    """A project in which four runs were made."""
    return fresh_demo(finished_demo, tmp_path_factory.mktemp("compared") / "trimood")


@pytest.fixture(scope="module")
def trained(project: DemoProject) -> str:
    """What the command that made the runs has said."""
    epochs = "training.num_train_epochs=1"
    return project.kedro("run", "--pipelines=exp3,exp6", "--params", f"seeds=[1,2],{epochs}").stderr


@pytest.fixture(scope="module")
def said(project: DemoProject, trained: str) -> str:
    return project.kedro(*RUN, HOW).stderr


def runs_of(project: DemoProject) -> pd.DataFrame:
    use_store(f"sqlite:///{project.path / 'mlflow.db'}")
    try:
        return mlflow.search_runs(search_all_experiments=True)
    finally:
        mlflow.set_tracking_uri(None)


def test_many_seeds_of_one_command_are_as_many_runs_and_look_the_clips_up_once(
    project: DemoProject, trained: str
) -> None:
    runs = runs_of(project)
    assert sorted(runs["tags.mlflow.runName"]) == [
        f"{name} · seed {seed}" for name in ("exp3", "exp6") for seed in (1, 2)
    ]
    assert set(runs["status"]) == {"FINISHED"}
    assert trained.count(", 0 to prepare") == 4  # one for each split


def test_a_comparison_is_a_page_a_table_figures_and_numbers(project: DemoProject, said: str) -> None:
    folder = project.path / "data" / "demo" / "08_reporting" / "comparison"
    found = json.loads((folder / "comparison.json").read_text())
    assert list(found["systems"]) == ["exp3", "exp6", "all neutral", "majority", "TF-IDF", "TF-IDF sqrt"]
    assert [sorted(found["systems"][name]["seeds"]) for name in ("exp3", "exp6")] == [[1, 2], [1, 2]]
    assert found["systems"]["exp3"]["modality_ablation"] != []
    assert "Comparison of experiments" in (folder / "report.html").read_text()
    rows = [line for line in (folder / "table.md").read_text().splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 6 + 7  # remarks stand above the table
    for name in ("scores", "differences", "classes", "confusion", "calibration", "gap"):
        assert (folder / "pictures" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert "<svg" in (folder / "drawings" / f"{name}.svg").read_text()[:1000]
    assert "exp6: macro F1" in said
    assert f"{folder / 'report.html'}: the comparison" in said
    assert "Downloading" not in said


def test_a_comparison_is_a_run_of_its_own_and_never_compared_itself(project: DemoProject, said: str) -> None:
    runs = runs_of(project)
    own = runs[runs["tags.report"] == "compare"].iloc[0]
    assert own["status"] == "FINISHED"
    assert (
        own["metrics.with intervals/exp6/macro_f1/low"]
        < own["metrics.with intervals/exp6/macro_f1/value"]
        < own["metrics.with intervals/exp6/macro_f1/high"]
    )
    assert 0 <= own["metrics.with intervals/exp6/difference/p_holm"] <= 1
    artifacts = Path(own["artifact_uri"].removeprefix("file://"))
    stored = {path.relative_to(artifacts).as_posix() for path in artifacts.rglob("*") if path.is_file()}
    assert {"report.html", "table.md", "comparison.json", "pictures/scores.png", "drawings/scores.svg"} <= stored
    project.kedro(*RUN, HOW)  # again, with a comparison among the runs
    found = json.loads((artifacts / "comparison.json").read_text())
    again = (project.path / "data/demo/08_reporting/comparison/comparison.json").read_text()
    assert json.loads(again) == found


def test_runs_are_compared_by_their_ids(project: DemoProject, said: str) -> None:
    runs = runs_of(project)
    named = runs[(runs["tags.experiment"] == "exp6")]["run_id"].tolist()
    project.kedro(*RUN, f"compare.runs=[{','.join(named)}],compare.baseline=TF-IDF,compare.resamples=500")
    found = json.loads((project.path / "data/demo/08_reporting/comparison/comparison.json").read_text())
    assert list(found["systems"]) == ["exp6", "all neutral", "majority", "TF-IDF", "TF-IDF sqrt"]
    assert sorted(found["systems"]["exp6"]["training"]["run_ids"]) == sorted(named)


def test_references_are_not_fitted_on_other_training_examples_than_the_runs_had(
    project: DemoProject, said: str
) -> None:
    path = project.path / "data" / "demo" / "05_model_input" / "training_examples.parquet"
    whole = path.read_bytes()
    pd.read_parquet(path).iloc[:-20].to_parquet(path)  # as a smaller share for training would leave it
    try:
        done = project.kedro(*RUN, HOW, check=False)
    finally:
        path.write_bytes(whole)
    assert done.returncode != 0
    assert "current training examples, but these runs used others: exp3 (seed 1)" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_baseline_without_a_run_is_told_what_to_do(project: DemoProject, said: str) -> None:
    done = project.kedro("run", "--pipelines=compare", check=False)
    assert done.returncode != 0
    for words in ("compare.baseline: exp1 is not among", "exp3, exp6, all neutral", "kedro run --pipelines=exp1"):
        assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_the_table_is_written_into_its_page_and_the_picture_of_the_readme_is_drawn(
    project: DemoProject, said: str, tmp_path: Path
) -> None:
    """As `make results` does it, in a copy."""
    shutil.copytree(PROJECT / "scripts", tmp_path / "scripts")
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    shutil.copy(PROJECT / "docs" / "results.md", tmp_path / "docs")
    comparison = project.path / "data" / "demo" / "08_reporting" / "comparison"
    command = [sys.executable, "scripts/write_results.py", str(comparison)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "src")}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    once = (tmp_path / "docs" / "results.md").read_text()
    assert (comparison / "table.md").read_text() in once
    assert once.count("<!-- results: written by make results -->") == once.count("<!-- end of results -->") == 1
    page = (PROJECT / "docs" / "results.md").read_text()
    before, after = (text.split("<!-- end of results -->")[1] for text in (page, once))
    assert before == after
    picture = tmp_path / "docs" / "pictures" / "comparison.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "docs" / "results.md").read_text() == once
