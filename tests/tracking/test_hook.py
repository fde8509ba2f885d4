"""Real Kedro sessions and a real MLflow store; only the nodes are small."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
import mlflow
import pandas as pd
import pytest
from kedro.framework.session import KedroSession
from kedro.io import DatasetError
from kedro.runner import ParallelRunner, SequentialRunner, ThreadRunner
from mlflow.entities import Run

from support.command_server import command_server
from support.tracked_project import STORE, of, runs_in
from trimood.runner import ExperimentRunner
from trimood.tracking.results import KEY
from trimood.tracking.runs import finished_run

Command = Callable[..., None]


@pytest.fixture
def run(project: Path, empty_store: Path) -> Command:
    """Runs pipelines of the small project as `kedro run` does, with a store that is there already."""
    shutil.copy(empty_store, project)
    return partial(start, project)


def start(project: Path, *names: str, **how: Any) -> None:
    parameters = how.pop("runtime_params", None)
    with KedroSession.create(project, env=how.pop("env", None), runtime_params=parameters) as session:
        session.run(pipeline_names=list(names), **how)


def run_named(store: Path, name: str) -> Run:
    (found,) = [run for run in runs_in(store) if of(run) == name]
    return found


def results_said(command: click.Context) -> list[str]:
    """The experiments whose results a command says last."""
    return [result.summary.experiment for result in command.meta[KEY].results]


def statuses(store: Path) -> dict[str, str]:
    return {of(run): run.info.status for run in runs_in(store)}


@pytest.mark.slow
def test_two_experiments_of_one_command_are_two_flat_runs_with_their_own_numbers(run: Command, project: Path) -> None:
    run("exp3", "exp4")
    assert statuses(project) == {"exp3": "FINISHED", "exp4": "FINISHED"}
    exp3, exp4 = run_named(project, "exp3"), run_named(project, "exp4")
    assert "mlflow.parentRunId" not in exp4.data.tags
    assert (exp3.data.metrics["test/macro_f1"], exp4.data.metrics["test/macro_f1"]) == (
        1,
        pytest.approx((5 + 2 / 3) / 7),
    )
    assert (exp3.data.params["train"], exp4.data.params["train"]) == ("head", "lora")
    # One name in every experiment, without the experiment's own in front: so MLflow shows them in one column.
    assert exp3.data.params.keys() - {"lora"} <= exp4.data.params.keys()  # of no adapters, MLflow shows lora None
    assert not [name for name in exp4.data.params if name.startswith("exp")]
    assert [exp3.info.run_name, exp4.info.run_name] == ["exp3 · seed 42", "exp4 · seed 42"]
    assert exp3.data.tags["mlflow.runColor"] != exp4.data.tags["mlflow.runColor"]


@pytest.mark.slow
def test_a_run_says_what_was_set_on_what_and_with_which_code(run: Command, project: Path) -> None:
    run("exp4", env="ecf", runtime_params={"training": {"seed": 3}})
    exp4 = run_named(project, "exp4")
    wanted = {
        "training.seed": "3",
        "training.learning_rate": "5e-05",
        "lora.targets": "q_proj+k_proj+v_proj+out_proj",
        "modalities": "text+video",
        "head.kind": "linear",
        "head.trained": "False",
        "data.split.unit": "conversation",
        "parameters.all.trainable": "8",
        "checkpoint.video": "LanguageBind/Video",
    }
    assert wanted.items() <= exp4.data.params.items()
    tags = exp4.data.tags
    assert {"experiment": "exp4", "env": "ecf", "corpus.train.sha256": "0a1b2c3d4e5f"}.items() <= tags.items()
    assert {"git_commit", "session", "python", "torch", "transformers", "peft", "trimood"} <= tags.keys()
    assert "partial" not in tags
    assert tags["mlflow.source.name"] == "kedro run --pipelines=exp4"
    assert tags["test interval"] == "0.25–0.75"
    assert tags["mlflow.note.content"].startswith("**Do adapters on attention close the gap")


@pytest.mark.slow
def test_the_environment_that_runs_by_default_is_named(run: Command, project: Path) -> None:
    run("exp3")
    assert run_named(project, "exp3").data.tags["env"] == "demo"


@pytest.mark.slow
def test_scores_curves_and_files_are_logged(run: Command, project: Path) -> None:
    run("exp4")
    exp4, client = run_named(project, "exp4"), mlflow.MlflowClient(STORE.format(project))
    assert exp4.data.metrics["test f1/surprise"] == pytest.approx(2 / 3)
    assert exp4.data.metrics["test f1/disgust"] == 0
    assert "test support/joy" not in exp4.data.metrics
    curve = client.get_metric_history(exp4.info.run_id, "training curves/validation_macro_f1")
    assert [(point.step, point.value) for point in curve] == [(1, 0.1), (2, 0.2)]
    assert exp4.data.metrics["test ablation/text blanked"] == 0.25
    files = {file.path for file in client.list_artifacts(exp4.info.run_id)}
    assert files == {
        "corpus_description.json",
        "excluded_clips.csv",
        "history.json",
        "modality_ablation.csv",
        "scores.json",
        "summary.json",
    }
    assert [name for name in exp4.data.tags if name.startswith("corpus.")] == ["corpus.train.sha256"]


@pytest.mark.slow
def test_every_run_counts_what_was_left_out_of_it_by_policy_and_problem(run: Command, project: Path) -> None:
    run("exp3", "exp4")
    for name in ("exp3", "exp4"):
        found = run_named(project, name)
        assert {key: count for key, count in found.data.tags.items() if key.startswith("utterances.excluded")} == {
            "utterances.excluded": "4",
            "utterances.excluded drop missing": "1",
            "utterances.excluded drop unreadable and silent": "1",
            "utterances.excluded blank silent": "2",
        }


@pytest.mark.slow
def test_store_and_files_lie_in_the_project_wherever_the_command_is_given(project: Path) -> None:
    start(project, "exp3")
    assert run_named(project, "exp3").info.artifact_uri.startswith((project / "mlruns").as_uri())
    assert list((project / "mlruns").rglob("scores.json"))
    assert list(Path.cwd().iterdir()) == []


@pytest.mark.slow
def test_without_an_experiment_nothing_is_tracked(project: Path) -> None:
    start(project, "data")
    assert not (project / "mlflow.db").exists()


@pytest.mark.slow
def test_a_failing_node_fails_its_experiment_and_not_the_one_that_was_done(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("exp3")
    monkeypatch.setenv("FAIL", "exp4.ablate: ValueError")  # its summary is stored already
    with click.Context(click.Command("run")) as command, pytest.raises(ValueError, match="was asked to fail"):
        run("exp3", "exp4")
    assert results_said(command) == ["exp3"]
    assert [(of(found), found.info.status) for found in runs_in(project)].count(("exp3", "FINISHED")) == 2
    exp4 = run_named(project, "exp4")
    assert exp4.info.status == "FAILED"
    assert exp4.data.metrics["training curves/validation_macro_f1"] == 0.2  # what was logged before stays
    assert exp4.data.tags["corpus.train.sha256"] == "0a1b2c3d4e5f"
    assert mlflow.active_run() is None


@pytest.mark.slow
def test_an_experiment_whose_last_output_could_not_be_saved_has_failed(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAD_SCORES", "1")
    with pytest.raises(DatasetError):
        run("exp3")
    assert statuses(project) == {"exp3": "FAILED"}


@pytest.mark.slow
def test_after_a_failure_the_same_experiment_goes_on_in_its_run(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "exp3.train: ValueError")
    with pytest.raises(ValueError, match="was asked to fail"):
        run("exp3")
    monkeypatch.delenv("FAIL")
    run("exp3")
    (found,) = runs_in(project)
    assert (found.info.status, found.data.tags.get("partial")) == ("FINISHED", None)
    run("exp3", runtime_params={"training": {"seed": 7}})
    assert len(runs_in(project)) == 2


@pytest.mark.slow
def test_an_experiment_is_finished_as_soon_as_its_last_output_is_saved(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "exp4.train: KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        run("exp3", "exp4", runner=ExperimentRunner())
    assert statuses(project) == {"exp3": "FINISHED", "exp4": "RUNNING"}
    exp3 = run_named(project, "exp3")
    assert finished_run(exp3.data.tags["identity"]) == exp3.info.run_id
    assert finished_run(run_named(project, "exp4").data.tags["identity"]) is None
    wanted = {"examples.validation": "2", "checkpoint_files.video": "0" * 16, "corpus.train.sha256": "0a1b2c3d4e5f"}
    assert wanted.items() <= exp3.data.tags.items()
    monkeypatch.delenv("FAIL")
    before = run_named(project, "exp4").info.run_id
    run("exp4")
    assert run_named(project, "exp4").info.run_id == before


@pytest.mark.slow
def test_an_experiment_that_is_refused_leaves_no_run(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "exp3.identify: ValueError")
    with pytest.raises(ValueError, match="was asked to fail"):
        run("exp3")
    assert runs_in(project) == []


@pytest.mark.slow
def test_a_closed_terminal_ends_a_command_in_order_but_not_under_nohup(run: Command) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run("exp3")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        with pytest.raises(SystemExit, match="129"):
            signal.raise_signal(signal.SIGHUP)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.slow
def test_a_killed_command_leaves_what_was_finished_and_the_next_goes_on_in_its_run(
    project: Path, empty_store: Path
) -> None:
    shutil.copy(empty_store, project)
    killed = kedro_run(project, "exp3,exp4", FAIL="exp4.train: kill")
    assert killed.returncode == -signal.SIGKILL
    assert statuses(project) == {"exp3": "FINISHED", "exp4": "RUNNING"}
    before = run_named(project, "exp4").info.run_id
    assert kedro_run(project, "exp3", "training.seed=7").returncode == 0
    exp4 = run_named(project, "exp4")
    assert (exp4.info.status, exp4.data.tags["partial"]) == ("KILLED", "true")
    assert kedro_run(project, "exp4").returncode == 0
    exp4 = run_named(project, "exp4")
    assert (exp4.info.run_id, exp4.info.status, exp4.data.tags.get("partial")) == (before, "FINISHED", None)


def kedro_run(project: Path, pipelines: str, params: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    arguments = (f"--pipelines={pipelines}", f"--params={params}")
    return command_server().run(project, "run", *arguments, **environment)


@pytest.mark.slow
def test_two_first_commands_at_once_make_one_store(project: Path) -> None:
    whole = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    command = [sys.executable, "-m", "kedro", "run", "--pipelines"]
    both = [subprocess.Popen([*command, name], cwd=project, env=whole, **pipes) for name in ("exp3", "exp4")]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "".join(said)
    assert statuses(project) == {"exp3": "FINISHED", "exp4": "FINISHED"}
    assert list(project.glob(".mlflow.db.new*")) == []


@pytest.mark.slow
def test_two_sessions_of_one_process_are_two_runs(run: Command, project: Path) -> None:
    run("exp3")
    run("exp4")
    run("exp3")
    assert [of(found) for found in runs_in(project)] == ["exp3", "exp4", "exp3"]
    assert {found.info.status for found in runs_in(project)} == {"FINISHED"}
    assert len({found.data.tags["session"] for found in runs_in(project)}) == 3


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [{"node_names": ["exp3.score"]}, {"from_nodes": ["exp3.train"]}])
def test_a_run_of_some_nodes_is_tagged_partial_and_still_says_its_settings(
    run: Command, project: Path, chosen: dict[str, list[str]]
) -> None:
    run("exp3")
    run("exp3", **chosen)
    whole, part = runs_in(project)
    assert "partial" not in whole.data.tags
    assert part.data.tags["partial"] == "true"
    assert part.info.status == "FINISHED"
    assert part.data.metrics["test/macro_f1"] == 1
    # Only what this command has seen: the description on disk may be of another corpus.
    assert part.data.tags.get("corpus.train.sha256") == ("0a1b2c3d4e5f" if "from_nodes" in chosen else None)
    assert part.data.params.get("train", "") == ("head" if "from_nodes" in chosen else "")


@pytest.mark.slow
def test_what_is_skipped_because_it_is_there_makes_no_run_or_a_partial_one(run: Command, project: Path) -> None:
    run("exp3")
    run("exp3", only_missing_outputs=True)
    assert len(runs_in(project)) == 1
    (project / "data/demo/08_reporting/exp3/scores.json").unlink()
    run("exp3", only_missing_outputs=True)
    _, part = runs_in(project)
    assert (part.info.status, part.data.tags["partial"]) == ("FINISHED", "true")


@pytest.mark.slow
def test_threads_feed_the_run_of_their_own_experiment(run: Command, project: Path) -> None:
    with click.Context(click.Command("run")) as command:
        run("exp3", "exp4", runner=ThreadRunner(max_workers=2))
    assert sorted(results_said(command)) == ["exp3", "exp4"]
    assert statuses(project) == {"exp3": "FINISHED", "exp4": "FINISHED"}
    for name, macro_f1 in (("exp3", 1), ("exp4", pytest.approx((5 + 2 / 3) / 7))):
        found = run_named(project, name)
        assert found.data.metrics["test/macro_f1"] == macro_f1
        history = pd.read_json(project / f"data/demo/06_models/{name}/history.json", typ="series")
        assert history["run"] == found.info.run_id
        assert history["thread"] != "MainThread"


@pytest.mark.slow
def test_asynchronous_loading_and_saving_loses_nothing(run: Command, project: Path) -> None:
    run("exp3")
    run("exp3", runner=SequentialRunner(is_async=True))
    one, other = runs_in(project)
    assert one.data.metrics == other.data.metrics
    assert one.data.params == other.data.params
    assert other.info.status == "FINISHED"


@pytest.mark.slow
def test_the_parallel_runner_is_refused_in_words(project: Path) -> None:
    with pytest.raises(click.UsageError, match=r"ParallelRunner runs no hooks in its workers.*Use the default runner"):
        start(project, "exp3", runner=ParallelRunner())
    assert not (project / "mlflow.db").exists()


@pytest.mark.slow
def test_a_run_that_was_stopped_in_this_process_is_closed_by_the_next(
    run: Command, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", "exp3.train: KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        run("exp3")
    monkeypatch.delenv("FAIL")
    run("exp4")
    assert statuses(project) == {"exp3": "KILLED", "exp4": "FINISHED"}


@pytest.mark.slow
def test_a_run_whose_command_was_stopped_is_not_called_finished(project: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, project)
    done = kedro_run(project, "exp3", FAIL="exp3.train: KeyboardInterrupt")
    assert done.returncode != 0
    assert statuses(project) == {"exp3": "KILLED"}, done.stderr


@pytest.mark.slow
def test_the_environment_variable_goes_before_the_configured_store(
    project: Path, empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(empty_store, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", STORE.format(tmp_path))
    start(project, "exp3")
    assert statuses(tmp_path) == {"exp3": "FINISHED"}
    assert not (project / "mlflow.db").exists()
    assert os.environ["MLFLOW_TRACKING_URI"] == STORE.format(tmp_path)


@pytest.mark.slow
def test_tracking_leaves_no_store_in_the_environment(run: Command, project: Path) -> None:
    """MLflow puts one there; a session of another project in this process would then use it."""
    run("exp3")
    assert "MLFLOW_TRACKING_URI" not in os.environ
