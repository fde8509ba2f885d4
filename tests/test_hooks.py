"""Experiments come from the session's configuration, and a wrong catalog is refused before anything runs."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from support.demo_project import PROJECT


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[Path]:
    """A configuration elsewhere, with an experiment of its own."""
    bootstrap_project(PROJECT)
    shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    experiments = tmp_path / "conf/base/experiments"
    (experiments / "exp7.yml").write_text((experiments / "exp3.yml").read_text().replace("exp3:", "exp7:"))
    yield tmp_path / "conf"
    bootstrap_project(PROJECT)


def test_a_session_has_the_experiments_of_its_own_configuration(conf: Path) -> None:
    for source, has_it in ((conf, True), (None, False), (conf, True)):
        with KedroSession.create(PROJECT, conf_source=source and str(source)) as session:
            parameters = session.load_context().params
        assert ("exp7" in pipelines) == has_it
        assert ("exp7" in parameters) == has_it


def test_a_later_session_of_the_process_finds_a_file_that_was_added(conf: Path) -> None:
    added = conf / "demo/experiments/exp8.yml"
    for has_it in (False, True):
        with KedroSession.create(PROJECT, conf_source=str(conf)) as session:
            session.load_context()
        assert ("exp8" in pipelines) == has_it
        added.parent.mkdir(exist_ok=True)
        added.write_text((conf / "base/experiments/exp7.yml").read_text().replace("exp7:", "exp8:"))


@pytest.mark.parametrize(("source", "has_it"), [(True, True), (False, False)])
def test_a_command_has_the_experiments_of_the_configuration_that_it_names(
    conf: Path, monkeypatch: pytest.MonkeyPatch, source: bool, has_it: bool
) -> None:
    monkeypatch.chdir(PROJECT)
    command = KedroCLI(PROJECT).get_command(None, "run")  # type: ignore[arg-type]
    assert command is not None
    said = CliRunner().invoke(command, ["--pipelines=exp77", *([f"--conf-source={conf}"] if source else [])])
    assert said.exit_code == 2
    assert (" exp7," in " ".join(said.output.split())) == has_it


def test_a_configuration_without_experiments_is_refused(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(conf / "base/experiments")
    monkeypatch.chdir(PROJECT)
    command = KedroCLI(PROJECT).get_command(None, "run")  # type: ignore[arg-type]
    assert command is not None
    said = CliRunner().invoke(command, ["--pipelines=exp3", f"--conf-source={conf}"])
    assert said.exit_code == 2
    assert "no experiments here" in " ".join(said.output.split())
    with pytest.raises(click.UsageError, match="no experiments here"):
        KedroSession.create(PROJECT, conf_source=str(conf)).load_context()


def test_a_misspelt_kind_of_logging_is_refused_by_the_name_of_its_dataset(conf: Path) -> None:
    catalog = conf / "base/experiment/catalog.yml"
    catalog.write_text(catalog.read_text().replace("{log: scores}", "{log: score}"))
    context = KedroSession.create(PROJECT, conf_source=str(conf)).load_context()
    with pytest.raises(
        click.UsageError, match=r"(?s)\{experiment\}\.scores: metadata\.mlflow\.log: no such kind.*mean"
    ):
        _ = context.catalog


def test_a_path_of_params_takes_precedence_over_globals_and_home_is_found(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    def paths(**given: str) -> list[str]:
        context = KedroSession.create(PROJECT, env="ecf", runtime_params=given).load_context()
        names = ("corpus", "meld", "prepared_clips")
        return [context.config_loader["catalog"][name]["filepath"] for name in names]

    assert paths() == ["data/01_raw/ecf", "data/01_raw/ecf", "data/04_feature/prepared_clips"]
    assert paths(corpus_dir="~/a, {b}") == ["/home/me/a, {b}", "/home/me/a, {b}", "data/04_feature/prepared_clips"]
    assert paths(meld_dir="/meld", data_root="/disk", prepared_clips="s3://b/c") == [
        "data/01_raw/ecf",
        "/meld",
        "s3://b/c",
    ]
    assert paths(data_root="/disk")[2] == "/disk/04_feature/prepared_clips"
