"""Experiments come from the session's configuration, and a wrong catalog is refused before anything runs."""

import re
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
from kedro.io import DatasetError

from support.demo_project import PROJECT
from trimood import pipeline_registry
from trimood.config import experiments
from trimood.config.experiments import read_experiments


@pytest.fixture
def conf(tmp_path: Path) -> Iterator[Path]:
    """A configuration elsewhere, with an experiment of its own."""
    bootstrap_project(PROJECT)
    shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    experiments = tmp_path / "conf/base/experiments"
    (experiments / "exp70.yml").write_text((experiments / "exp3.yml").read_text().replace("exp3:", "exp70:"))
    yield tmp_path / "conf"
    bootstrap_project(PROJECT)


@pytest.mark.slow
def test_a_session_has_the_experiments_of_its_own_configuration(conf: Path) -> None:
    for source, has_it in ((conf, True), (None, False), (conf, True)):
        with KedroSession.create(PROJECT, conf_source=source and str(source)) as session:
            parameters = session.load_context().params
        assert ("exp70" in pipelines) == has_it
        assert ("exp70" in parameters) == has_it


@pytest.mark.slow
def test_a_later_session_of_the_process_finds_a_file_that_was_added(conf: Path) -> None:
    added = conf / "demo/experiments/exp80.yml"
    for has_it in (False, True):
        with KedroSession.create(PROJECT, conf_source=str(conf)) as session:
            session.load_context()
        assert ("exp80" in pipelines) == has_it
        added.parent.mkdir(exist_ok=True)
        added.write_text((conf / "base/experiments/exp70.yml").read_text().replace("exp70:", "exp80:"))


@pytest.mark.slow
@pytest.mark.parametrize(("source", "has_it"), [(True, True), (False, False)])
def test_a_command_has_the_experiments_of_the_configuration_that_it_names(
    conf: Path, monkeypatch: pytest.MonkeyPatch, source: bool, has_it: bool
) -> None:
    monkeypatch.chdir(PROJECT)
    command = KedroCLI(PROJECT).get_command(None, "run")  # type: ignore[arg-type]
    assert command is not None
    said = CliRunner().invoke(command, ["--pipelines=exp777", *([f"--conf-source={conf}"] if source else [])])
    assert said.exit_code == 2
    assert (" exp70," in " ".join(said.output.split())) == has_it


@pytest.mark.slow
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


@pytest.fixture
def empty_place(conf: Path) -> Path:
    """The configuration, whose environments demo and ecf have nothing in their folders."""
    for environment in ("demo", "ecf"):
        path = conf / environment / "globals.yml"
        path.write_text(re.sub(r": data(/demo)?\b", f": {conf.parent / 'data'}", path.read_text()))
    return conf


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "pipeline", "words"),
    [
        ("demo", "submission", r"exp4/identity\.json: no such file\. Run this first: kedro run --pipelines=exp4"),
        ("demo", "compare", r"corpus_description\.json: it does not exist yet\. .*kedro run --pipelines=exp1"),
        ("demo", "cut_clips", r"episodes: no such folder"),
        ("ecf", "exp4", r"01_raw/ecf: no such folder\. Give the right one with --params .*corpus_dir"),
        ("ecf", "demo", r"nothing is generated here, because this environment uses your own data"),
    ],
)
def test_what_cannot_be_made_is_said_before_anything_is_made(
    empty_place: Path, env: str, pipeline: str, words: str
) -> None:
    session = KedroSession.create(PROJECT, env=env, conf_source=str(empty_place))
    with session, pytest.raises((click.UsageError, DatasetError), match=words):
        session.run(pipeline_names=[pipeline])
    assert not (empty_place.parent / "data").exists()


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["exp4", "check_data"])
def test_a_corpus_without_annotations_is_refused_before_checkpoints_are_loaded(
    empty_place: Path, tmp_path: Path, pipeline: str
) -> None:
    (tmp_path / "mine" / "deeper").mkdir(parents=True)
    (tmp_path / "mine" / "deeper" / "Subtask_2_train.json").touch()
    given = {"corpus_dir": str(tmp_path / "mine"), "video_checkpoint": "no/such", "audio_checkpoint": "no/such"}
    session = KedroSession.create(PROJECT, env="ecf", conf_source=str(empty_place), runtime_params=given)
    with session, pytest.raises(click.UsageError, match=r"mine: no train file; got deeper \(but deeper/Subtask_2"):
        session.run(pipeline_names=[pipeline])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("compare", "a stage already has this name"),
        ("experiment", "a stage already has this name"),
        ("training", "a parameter already has this name"),
        ("model", "a parameter already has this name"),
        ("seeds", "a parameter already has this name"),
    ],
)
def test_an_experiment_named_as_something_else_is_refused(
    conf: Path, monkeypatch: pytest.MonkeyPatch, name: str, words: str
) -> None:
    experiments = conf / "base/experiments"
    (experiments / "exp70.yml").rename(experiments / f"{name}.yml")
    (experiments / f"{name}.yml").write_text((experiments / "exp3.yml").read_text().replace("exp3:", f"{name}:"))
    monkeypatch.chdir(PROJECT)
    command = KedroCLI(PROJECT).get_command(None, "run")  # type: ignore[arg-type]
    assert command is not None
    said = CliRunner().invoke(command, ["--pipelines=exp3", f"--conf-source={conf}"])
    assert said.exit_code == 2, said.exception
    assert f"{name}.yml: {words}; rename the experiment" in " ".join(said.output.split())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("base/experiment/parameters.yml", b"training: {seed: 042}\n", r"line 1: training\.seed: YAML reads 042 as 34"),
        ("demo/parameters.yml", b"tune: [\n", r"demo/parameters\.yml, line 2: not valid YAML"),
        ("demo/globals.yml", b"data_root: \xff\n", r"demo/globals\.yml: not UTF-8"),
        ("demo/globals.yml", b"data_root: ${nosuch:x}\n", r"data_root: Unsupported interpolation type nosuch"),
        ("demo/globals.yml", b"data_rot: data\n", r"unknown key 'data_rot'.*Did you mean data_root"),
        ("demo/parameters.yml", b"training: {seed: '${home:~}'}\n", r"training\.seed: token recognition error at: '~'"),
    ],
)
def test_a_wrong_file_of_the_configuration_is_named(
    conf: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: bytes, words: str
) -> None:
    (conf / file).write_bytes(content)
    monkeypatch.chdir(PROJECT)
    command = KedroCLI(PROJECT).get_command(None, "run")  # type: ignore[arg-type]
    assert command is not None
    done = CliRunner().invoke(command, ["--pipelines=exp3", f"--conf-source={conf}"])
    assert done.exit_code in (1, 2), done.exception
    assert re.search(words, " ".join(done.output.split())), done.output


@pytest.mark.slow
def test_kedros_own_commands_name_a_wrong_file_too(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (conf / "base/experiments/exp4_lr0.001.yml").write_text("exp4_lr0.001: {modalities: [text], train: head}\n")
    monkeypatch.setattr(experiments, "_read", None)
    monkeypatch.setattr(pipeline_registry, "look_for_experiments", lambda: read_experiments(str(conf), ("base",)))
    done = CliRunner().invoke(click.Command("list", callback=pipeline_registry.register_pipelines))
    assert done.exit_code == 2, done.exception
    assert "'exp4_lr0.001' cannot be the name of an experiment" in " ".join(done.output.split())


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["base", "demo"])
def test_a_configuration_without_a_needed_folder_says_which(conf: Path, missing: str) -> None:
    shutil.rmtree(conf / missing)
    with pytest.raises(click.UsageError, match=f"has no environment {missing}, no folder of this name"):
        KedroSession.create(PROJECT, conf_source=str(conf)).load_context()


@pytest.mark.slow
def test_an_environment_is_a_folder_with_or_without_files(conf: Path) -> None:
    shutil.rmtree(conf / "local")
    (conf / "mine").mkdir()
    (conf / "mine/globals.yaml").write_text("experiment: exp3\n")
    there_are = r"has no environment local, .*; there are: demo, ecf, ecf_text, meld, mine\."
    with pytest.raises(click.UsageError, match=there_are):
        KedroSession.create(PROJECT, conf_source=str(conf), env="local").load_context()
    (conf / "local").mkdir()
    for environment in ("local", "mine"):
        with KedroSession.create(PROJECT, conf_source=str(conf), env=environment) as session:
            assert "exp7" in session.load_context().params


@pytest.mark.slow
def test_a_misspelt_kind_of_logging_is_refused_by_the_name_of_its_dataset(conf: Path) -> None:
    catalog = conf / "base/experiment/catalog.yml"
    catalog.write_text(catalog.read_text().replace("{log: scores}", "{log: score}"))
    context = KedroSession.create(PROJECT, conf_source=str(conf)).load_context()
    with pytest.raises(
        click.UsageError, match=r"(?s)\{experiment\}\.scores: metadata\.mlflow\.log: no such kind.*mean"
    ):
        _ = context.catalog


@pytest.mark.slow
def test_a_path_of_params_takes_precedence_over_globals_and_home_is_found(
    conf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")

    def paths(**given: str) -> list[str]:
        context = KedroSession.create(PROJECT, env="ecf", runtime_params=given).load_context()
        catalog = context.config_loader["catalog"]  # is read from its files each time
        return [catalog[name]["filepath"] for name in ("corpus", "meld", "prepared_clips")]

    assert paths() == ["data/01_raw/ecf", "data/01_raw/ecf", "data/04_feature/prepared_clips"]
    assert paths(corpus_dir="~/a, {b}") == ["/home/me/a, {b}", "/home/me/a, {b}", "data/04_feature/prepared_clips"]
    assert paths(meld_dir="/meld", data_root="/disk", prepared_clips="s3://b/c") == [
        "data/01_raw/ecf",
        "/meld",
        "s3://b/c",
    ]
    assert paths(data_root="/disk")[2] == "/disk/04_feature/prepared_clips"
