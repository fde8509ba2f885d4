"""The copy that slow tests run in stands alone: it uses its own configuration, and leaves the project as it was."""

from pathlib import Path

import pytest

from support.demo_project import PROJECT, copy_project


@pytest.mark.slow
def test_commands_in_a_copy_run_the_experiments_of_the_copy(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "trimood")
    experiments = project.path / "conf/base/experiments"
    (experiments / "exp99.yml").write_text((experiments / "exp3.yml").read_text().replace("exp3:", "exp99:"))
    assert "- exp99" in project.kedro("registry", "list").stdout
    assert not (PROJECT / "conf/base/experiments/exp99.yml").exists()


@pytest.mark.slow
def test_a_command_that_fails_fails_the_test_with_its_words_unless_that_is_wanted(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "trimood")
    with pytest.raises(AssertionError, match="exp77"):
        project.kedro("run", "--pipelines=exp77")
    assert project.kedro("run", "--pipelines=exp77", check=False).returncode != 0
