"""Experiments are files of the configuration's environments: which are found, and which are refused."""

import tarfile
from pathlib import Path

import pytest

from trimood.config.experiments import ExperimentFileError, find_experiments

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


@pytest.mark.parametrize("name", ["exp4_lr0.001", "4exp", "exp-4"])
def test_a_name_that_is_no_identifier_is_refused(conf: Path, name: str) -> None:
    path = write(conf / "base", name)
    with pytest.raises(ExperimentFileError, match=r"cannot be the name of an experiment; allowed are letters") as error:
        find_experiments(str(conf), ENVIRONMENTS)
    assert str(error.value).startswith(f"{path}: {name!r} ")


def test_a_file_whose_top_key_is_not_its_name_is_refused(conf: Path) -> None:
    write(conf / "base", "exp7", "exp8: {{modalities: [text], train: head}}\n")
    with pytest.raises(ValueError, match=r"exp7\.yml: the top keys are \['exp8'\]; allowed is exactly one, 'exp7'"):
        find_experiments(str(conf), ENVIRONMENTS)


def test_a_file_that_cannot_be_read_as_an_experiment_is_named(conf: Path) -> None:
    path = write(conf / "base", "exp7", "exp7: {{modalities: [text], train: head\n")
    with pytest.raises(ValueError, match=r"exp7\.yml: not valid YAML: "):
        find_experiments(str(conf), ENVIRONMENTS)
    path.rename(path.with_suffix(".yaml"))
    with pytest.raises(ValueError, match=r"exp7\.yaml: rename it to exp7\.yml"):
        find_experiments(str(conf), ENVIRONMENTS)
