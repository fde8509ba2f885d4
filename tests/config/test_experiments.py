"""Experiments are files of the configuration's environments: which are found, and which are refused."""

import tarfile
from pathlib import Path

import pytest

from trimood.config.conf_files import ConfError
from trimood.config.experiments import (
    ExperimentFileError,
    find_experiments,
    question_of,
    read_experiments,
    source_of_experiments,
)

EXPERIMENT = "{}: {{modalities: [text], train: head}}\n"
ENVIRONMENTS = ("base", "demo")


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for environment, name in (("base", "exp7"), ("base", "exp8"), ("demo", "exp9"), ("ecf", "exp10")):
        write(tmp_path / "conf" / environment, name)
    return tmp_path / "conf"


def write(environment: Path, name: str, text: str = EXPERIMENT, ending: str = "yml") -> Path:
    path = environment / "experiments" / f"{name}.{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(name))
    return path


def test_experiments_are_those_of_base_and_of_the_environment_in_use(conf: Path) -> None:
    assert find_experiments(str(conf), ENVIRONMENTS) == ("exp7", "exp8", "exp9")
    assert find_experiments(str(conf), ("base", "ecf")) == ("exp10", "exp7", "exp8")
    assert find_experiments(str(conf), ("base", "base")) == ("exp7", "exp8")


def test_experiments_are_found_in_an_archive_too(conf: Path) -> None:
    archive = conf.parent / "conf-trimood.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(conf, "conf")
    assert find_experiments(str(archive), ENVIRONMENTS) == ("exp7", "exp8", "exp9")


def test_a_configuration_without_experiments_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    with pytest.raises(ExperimentFileError, match=r"no experiments here.*--conf-source"):
        find_experiments(str(tmp_path), ENVIRONMENTS)


@pytest.mark.parametrize(
    "name",
    ["exp4_lr0.001", "4exp", "exp-4", "exp 4", "expé", "class", "Class", "none", "None", "true", "yes", "yES", "on",
     "__default__", "_exp", "exp7 "],
)  # fmt: skip
def test_a_name_that_cannot_be_a_pipeline_and_a_namespace_is_refused(conf: Path, name: str) -> None:
    path = write(conf / "base", name)
    with pytest.raises(ExperimentFileError, match=r"cannot be the name of an experiment; allowed are letters"):
        find_experiments(str(conf), ENVIRONMENTS)
    with pytest.raises(ExperimentFileError) as error:
        find_experiments(str(conf), ENVIRONMENTS)
    assert str(error.value).startswith(f"{path}: {name!r} ")


def test_upper_case_is_allowed_but_not_as_the_only_difference_between_two_names(conf: Path) -> None:
    write(conf / "base", "Exp7_LR")
    assert find_experiments(str(conf), ENVIRONMENTS) == ("Exp7_LR", "exp7", "exp8", "exp9")
    path = write(conf / "demo", "EXP7")
    with pytest.raises(
        ExperimentFileError, match=r"'EXP7' and the experiment 'exp7' differ only in upper and lower"
    ) as e:
        find_experiments(str(conf), ENVIRONMENTS)
    assert str(e.value).startswith(f"{path}: ")
    assert find_experiments(str(conf), ("base", "ecf")) == ("Exp7_LR", "exp10", "exp7", "exp8")


@pytest.mark.parametrize("ending", ["yaml", "YML", "Yaml"])
def test_another_ending_is_refused_also_beside_the_right_one(conf: Path, ending: str) -> None:
    write(conf / "base", "exp7", ending=ending)
    with pytest.raises(ExperimentFileError, match=rf"exp7\.{ending}: rename it to exp7\.yml"):
        find_experiments(str(conf), ENVIRONMENTS)


def test_a_folder_an_empty_file_and_a_file_in_a_sub_folder_are_refused_by_name(conf: Path) -> None:
    experiments = conf / "base" / "experiments"
    (experiments / "exp5.yml").mkdir()
    with pytest.raises(ConfError, match=r"exp5\.yml: cannot be read: it is a folder"):
        find_experiments(str(conf), ENVIRONMENTS)
    (experiments / "exp5.yml").rmdir()
    (experiments / "exp5.yml").touch()
    with pytest.raises(ExperimentFileError, match=r"exp5\.yml: it has no top key; allowed is exactly one, 'exp5'"):
        find_experiments(str(conf), ENVIRONMENTS)
    (experiments / "mine").mkdir()
    (experiments / "exp5.yml").rename(experiments / "mine" / "exp5.yml")
    with pytest.raises(ExperimentFileError, match=r"experiments in sub-folders are not read\. Move the file"):
        find_experiments(str(conf), ENVIRONMENTS)


def test_files_of_another_kind_and_hidden_ones_are_no_experiments(conf: Path) -> None:
    for name in ("README.md", "exp7.yml~", "._exp7.yml", ".exp7.yml.swp"):
        (conf / "base" / "experiments" / name).write_text("x")
    assert find_experiments(str(conf), ENVIRONMENTS) == ("exp7", "exp8", "exp9")


def test_a_file_whose_top_key_is_not_its_name_is_refused(conf: Path) -> None:
    write(conf / "base", "exp7", "exp8: {{modalities: [text], train: head}}\n")
    with pytest.raises(ValueError, match=r"exp7\.yml: the top keys are \['exp8'\]; allowed is exactly one, 'exp7'"):
        find_experiments(str(conf), ENVIRONMENTS)


def test_a_file_that_cannot_be_read_as_an_experiment_is_named(conf: Path) -> None:
    path = write(conf / "base", "exp7", "exp7: {{modalities: [text], train: head\n")
    with pytest.raises(ValueError, match=r"exp7\.yml, line 2: not valid YAML: "):
        find_experiments(str(conf), ENVIRONMENTS)
    path.rename(path.with_suffix(".yaml"))
    with pytest.raises(ValueError, match=r"exp7\.yaml: rename it to exp7\.yml"):
        find_experiments(str(conf), ENVIRONMENTS)


def test_the_question_of_an_experiment_is_the_first_line_of_its_file(conf: Path) -> None:
    asking = "# exp7 - is a linear head enough?\n# kedro run --pipelines=exp7\n" + EXPERIMENT
    write(conf / "base", "exp7", asking)
    write(conf / "demo", "exp7")  # overrides a value, and asks nothing
    before = source_of_experiments()
    try:
        read_experiments(str(conf), ENVIRONMENTS)
        assert question_of("exp7") == "is a linear head enough?"
        assert question_of("exp8") == ""
    finally:
        if before:
            read_experiments(*before)
