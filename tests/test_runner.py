"""Several experiments of one command: what fails costs no other."""

from collections.abc import Callable
from pathlib import Path

import pytest
from kedro.framework.cli.cli import KedroCLI
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import Node, Pipeline

from support.demo_project import PROJECT
from trimood.datasets import FolderDataset
from trimood.runner import ExperimentRunner, lock_of


class Broken(Exception):
    """What a node of the tests raises."""


def catalog() -> DataCatalog:
    return DataCatalog.from_config(
        {"{name}": {"type": "kedro.io.MemoryDataset", "copy_mode": "assign"}}  # not released between the parts
    )


def experiments(done: list[str], broken: tuple[str, ...] = ()) -> Pipeline:
    """exp1, exp3 and exp4 over one shared node, each with a check, a training and a scoring node."""

    def node(name: str, inputs: list[str], output: str, **kwargs: object) -> Node:
        def work(*values: object) -> str:
            if name in broken:
                raise Broken(name)
            done.append(name)
            return name

        return Node(work, inputs, output, name=name, namespace=name.split(".", maxsplit=1)[0], **kwargs)  # type: ignore[arg-type]

    nodes = [node("shared.prepare", [], "examples")]
    for name in ("exp4", "exp1", "exp3"):
        nodes += [
            node(f"{name}.plan", [], f"{name}.plan_made", tags=["checks"]),
            node(f"{name}.train", [f"{name}.plan_made", "examples"], f"{name}.weights"),
            node(f"{name}.score", [f"{name}.weights"], f"{name}.scores"),
        ]
    return Pipeline(nodes)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    def start(*broken: str) -> list[str]:
        done: list[str] = []
        monkeypatch.setattr(start, "done", done, raising=False)
        ExperimentRunner().run(experiments(done, broken), catalog())
        return done

    return start


def test_checks_and_shared_stages_come_first_and_then_one_experiment_after_the_other(run) -> None:
    done = run()
    assert set(done[:4]) == {"shared.prepare", "exp1.plan", "exp3.plan", "exp4.plan"}
    assert done[4:] == [f"{name}.{step}" for name in ("exp1", "exp3", "exp4") for step in ("train", "score")]


def test_an_experiment_that_fails_costs_no_other_and_is_not_hidden(run) -> None:
    with pytest.raises(Broken, match=r"exp3\.train"):
        run("exp3.train")
    assert run.done[4:] == ["exp1.train", "exp1.score", "exp4.train", "exp4.score"]


def test_of_several_failures_the_first_ends_the_run_and_all_are_told(run, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Broken, match=r"exp1\.score"):
        run("exp1.score", "exp4.train")
    assert {"exp1 failed: exp1.score", "exp4 failed: exp4.train"} <= {record.getMessage() for record in caplog.records}


@pytest.mark.parametrize("broken", ["shared.prepare", "exp4.plan"])
def test_what_is_wrong_before_training_stops_everything(run, broken: str) -> None:
    with pytest.raises(Broken):
        run(broken)
    assert not [name for name in run.done if name.endswith("train")]


def test_an_import_takes_the_lock_of_its_experiment(tmp_path: Path) -> None:
    made = DataCatalog({"models": FolderDataset(filepath=str(tmp_path)), "params:experiment": MemoryDataset("exp4")})
    assert lock_of("import_weights", made) == lock_of("exp4", made) == tmp_path / "exp4" / ".lock"


@pytest.mark.slow
def test_kedro_run_uses_this_runner_unless_another_is_asked_for() -> None:
    command = KedroCLI(PROJECT).get_command(None, "run")  # type: ignore[arg-type]
    assert command is not None
    for arguments, runner in (([], "trimood.runner.ExperimentRunner"), (["--runner=ThreadRunner"], "ThreadRunner")):
        assert command.make_context("run", arguments).params["runner"] == runner
